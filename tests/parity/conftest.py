"""The studies under `benchmarks/` are scripts, not a package: their folder joins the path for these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
