"""Whether the server whose folder is given answers on this machine: ends with 0, or with an error."""

import ssl
import sys
import tomllib
import urllib.request
from pathlib import Path

folder = Path(sys.argv[1])
settings = tomllib.loads((folder / "server.toml").read_text("utf-8"))
context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
urllib.request.urlopen(f"https://127.0.0.1:{settings['port']}/healthz", timeout=5, context=context).close()
