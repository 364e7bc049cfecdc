"""Processes that end together, each known by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from comity.core.errors import RunError

_PATIENCE = 15.0
_SHOWN = 5


@dataclass
class Processes:
    """Commands of `comity` in processes of their own, whose output goes to files in `folder`; a context manager."""

    folder: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        """Start `comity WORDS…`; its output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "comity", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"NO_COLOR": "1"},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `RunError` where a process has ended, with the end of what it said."""
        for name, process in self.started.items():
            if (code := process.poll()) is not None:
                log = self.folder / f"{name}.log"
                said = "\n".join(log.read_text("utf-8", "replace").splitlines()[-_SHOWN:])
                raise RunError(f"the process of {name} has ended with {code}:\n{said}", where=str(log))

    def __enter__(self) -> Processes:
        # SIGTERM unwinds like Ctrl-C: whoever ends this process in the ordinary way leaves none of the others behind.
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all, the last one first: nodes before the server that they ask."""
        for process in reversed(self.started.values()):
            process.terminate()
        for process in reversed(self.started.values()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            if process.poll() is None:
                process.kill()
                process.wait()
        signal.signal(signal.SIGTERM, self._before)


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
