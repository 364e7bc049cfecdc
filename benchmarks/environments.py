"""A virtual environment for each peer, made once and used again while its recipe stays the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"


def _for_older_python(site: Path) -> None:
    """Let BlazeFL 3.0.0 run below Python 3.14: annotations unevaluated, and its two `def f[T](…)` without the `[T]`."""
    for path in (site / "blazefl").rglob("*.py"):
        text = re.sub(r"(?m)^def (\w+)\[T\]\(", r"def \1(", path.read_text())
        path.write_text("from __future__ import annotations\n" + text)


@dataclass(frozen=True)
class Environment:
    """What `pip install` is called with, once for each entry of `steps`, and a change to the installed files."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    mend: Callable[[Path], None] | None = None

    def python(self, folder: Path) -> Path:
        """This environment's interpreter under `folder`; it is made first where it is missing or out of date."""
        home = folder / self.name
        recipe = "\n".join([sys.version, *map(" ".join, self.steps)])
        stamp, python = home / "recipe.txt", home / "bin" / "python"
        if stamp.exists() and stamp.read_text() == recipe:
            return python
        print(f"installing {self.name} into {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        _call(sys.executable, "-m", "venv", str(home))
        for step in self.steps:
            _call(str(python), "-m", "pip", "install", "--quiet", *step)
        if self.mend is not None:
            self.mend(next((home / "lib").glob("python3.*/site-packages")))
        stamp.write_text(recipe)
        return python


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


# PyTorch comes first and stays pinned, so that every peer runs the same build of it.
COMITY = Environment("comity", ((TORCH,), ("-e", f"{REPOSITORY}[torch]", TORCH)))
HAND = Environment("torch", ((TORCH, "numpy"),))
FLOWER = Environment(
    "flower",
    ((TORCH, "numpy"), ("flwr[simulation]==1.41.0", TORCH), ("--no-deps", "flwr==1.42.0")),
)
PFL = Environment("pfl", ((TORCH, "numpy"), ("pfl[pytorch]==0.6.0", TORCH)))
BLAZEFL = Environment(
    "blazefl",
    ((TORCH, "numpy", "tqdm"), ("--no-deps", "--ignore-requires-python", "blazefl==3.0.0")),
    _for_older_python,
)
FEDJAX = Environment("fedjax", (("fedjax==0.0.17", "jax==0.10.2", "jaxlib==0.10.2"),))
FEDJAX_2024 = Environment(
    "fedjax-jax-0.4.25",
    (
        (
            "fedjax==0.0.17", "jax==0.4.25", "jaxlib==0.4.25",
            "numpy<2", "scipy<1.13", "dm-haiku==0.0.12", "optax<0.2.3",
        ),
    ),
)  # fmt: skip
