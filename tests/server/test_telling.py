"""Lines of the server's log: one for each thing that happens, with its fields."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from comity.server.logs import JsonFormatter
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
from comity.server.telling import tell
from comity.store.errors import StorageFull
from comity.wire.signature import Fault

RUN = "00000000000000aa"
LINES: list[tuple[Happening, str, str]] = [
    (RunBegun(RUN, "ada", 4, 20), "info", "run begun"),
    (RoundBegun(RUN, 3, 1, 4), "info", "round begun"),
    (RoundClosed(RUN, 3, 3, 1, 2.5, 100, 200), "info", "round closed"),
    (RoundAbandoned(RUN, 3, 1, "too few parties are left"), "warning", "round abandoned"),
    (RunEnded(RUN, "completed", 20, "20 rounds"), "info", "run ended"),
    (RunEnded(RUN, "failed", 3, "why"), "warning", "run ended"),
    (LeaseEnded(RUN, "north", 7, "norm", "too long"), "info", "contribution refused"),
    (LeaseEnded(RUN, "north", 7, "accepted"), "debug", "lease ended"),
    (LeaseEnded(RUN, "north", 7, "released", "late"), "debug", "lease ended"),
    (Aggregated(RUN, 3, 0.25), "debug", "model made"),
]


def line(happening: Happening, caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    caplog.set_level(logging.DEBUG, "comity.server")
    tell(happening)
    found: dict[str, object] = json.loads(JsonFormatter().format(caplog.records[-1]))
    return found


@pytest.mark.parametrize(("happening", "level", "message"), LINES, ids=lambda value: str(value)[:30])
def test_a_line_has_every_field_of_what_happened(
    happening: Happening, level: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = line(happening, caplog)
    assert (found["level"], found["message"], found["run"]) == (level, message, RUN)
    for name in type(happening).__dataclass_fields__:
        assert found[name] == getattr(happening, name)


def test_a_refused_signature_names_who_and_what_and_why(caplog: pytest.LogCaptureFixture) -> None:
    found = line(SignatureRefused("GET", "/v1/nodes", "10.0.0.7", Fault.STALE), caplog)
    assert found["level"] == "warning"
    assert found["message"] == "refused GET /v1/nodes from 10.0.0.7: the signature is refused: stale"


def test_a_failing_store_is_an_error_that_says_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    found = line(StoreFailed("a round waits for the store", StorageFull("no space"), RUN), caplog)
    assert (found["level"], found["run"]) == ("error", RUN)
    assert str(found["message"]).startswith("a round waits for the store: no space")
    assert "run" not in line(StoreFailed("GET /v1/runs", StorageFull("no space")), caplog)


def test_the_operators_guide_explains_every_line() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    table = guide.partition("## The server's log")[2].partition("\n## ")[0]
    assert [message for _, _, message in LINES if f"`{message}`" not in table] == []
