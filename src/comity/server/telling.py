"""What happens at a server, as lines of its log."""

from __future__ import annotations

import logging
from dataclasses import asdict

from comity.server.observed import (
    Aggregated,
    Happening,
    LeaseEnded,
    RoundAbandoned,
    RoundBegun,
    RoundClosed,
    RunBegun,
    RunEnded,
    SignatureRefused,
    StoreFailed,
)
from comity.wire.signature import SignatureError

_log = logging.getLogger("comity.server")


def tell(happening: Happening) -> None:
    """One line, with the happening's fields as the line's own."""
    match happening:
        case SignatureRefused(method, path, address, fault):
            _log.warning("refused %s %s from %s: %s", method, path, address, SignatureError(fault).what)
        case StoreFailed(what, error, run):
            _log.error("%s: %s", what, error, extra={} if run is None else {"run": run})
        case RunBegun():
            _line(logging.INFO, "run begun", happening)
        case RoundBegun():
            _line(logging.INFO, "round begun", happening)
        case RoundClosed():
            _line(logging.INFO, "round closed", happening)
        case RoundAbandoned():
            _line(logging.WARNING, "round abandoned", happening)
        case RunEnded():
            _line(logging.WARNING if happening.state == "failed" else logging.INFO, "run ended", happening)
        case Aggregated():
            _line(logging.DEBUG, "model made", happening)
        case LeaseEnded(outcome="accepted" | "released"):
            _line(logging.DEBUG, "lease ended", happening)
        case LeaseEnded():
            _line(logging.INFO, "contribution refused", happening)


def _line(level: int, message: str, happening: Happening) -> None:
    if _log.isEnabledFor(level):
        _log.log(level, message, extra=asdict(happening))
