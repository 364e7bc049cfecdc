"""The command line's consoles take their width when they are made, on import."""

import os

os.environ["COLUMNS"] = "200"
