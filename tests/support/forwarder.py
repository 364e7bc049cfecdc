"""A way to a server that is slow, that is watched, and that leads elsewhere when the server is gone."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

_PIECE = 1 << 16


@dataclass(eq=False)
class Forwarder:
    """Connections to `address` go on to the first of `ports` on loopback that takes them; a context manager.

    `up` counts the bytes that went towards the server. At most `rate` of them a second do, where it is set. `reached`
    are the ports of the connections so far.
    """

    ports: list[int]
    rate: float | None = None
    up: int = 0
    reached: list[int] = field(default_factory=list)
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Forwarder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._open:
                _shut(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._reached()
                if far is None:
                    near.close()
                    continue
                with self._lock:
                    self._open |= {near, far}
                for pump in (self._upwards, self._downwards):
                    threading.Thread(target=self._carry, args=(pump, near, far), daemon=True).start()

    def _reached(self) -> socket.socket | None:
        for port in list(self.ports):
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", port))
                self.reached.append(port)
                return far
        return None

    def _carry(
        self, pump: Callable[[socket.socket, socket.socket], None], near: socket.socket, far: socket.socket
    ) -> None:
        """Until one end is closed, and then the other one as well."""
        with contextlib.suppress(OSError):
            pump(near, far)
        _shut(near)
        _shut(far)

    def _upwards(self, near: socket.socket, far: socket.socket) -> None:
        while piece := near.recv(_PIECE):
            with self._lock:
                self.up += len(piece)
                if self.rate is not None:
                    time.sleep(len(piece) / self.rate)
            far.sendall(piece)

    def _downwards(self, near: socket.socket, far: socket.socket) -> None:
        while piece := far.recv(_PIECE):
            near.sendall(piece)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
