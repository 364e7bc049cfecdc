"""What commands say: the same facts for people and programs, and nothing that could move a terminal's cursor."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from rich.table import Table

from comity.cli.reporting import ExitCode, code_of, err, out, show, tell
from comity.core.errors import ConfigError, Rejection
from comity.core.errors import Reason as Why
from comity.identity.errors import IdentityError
from comity.wire.client import ProblemError
from comity.wire.messages import Problem, RunList

HOSTILE = "gone\x1b[2J\x1b]0;title\x07\r\x9b1A"


def as_text() -> None:
    out.print(HOSTILE)


def in_a_table() -> None:
    table = Table()
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    out.print(table)


def as_an_answer() -> None:
    tell({}, HOSTILE, False)


def as_json() -> None:
    tell({"detail": HOSTILE}, "", True)


def as_an_error() -> None:
    show(ProblemError(409, Problem(title=HOSTILE, detail=HOSTILE, where=HOSTILE, mend=HOSTILE)))


@pytest.mark.parametrize("shown", [as_text, in_a_table, as_an_answer, as_json, as_an_error])
def test_no_text_from_outside_reaches_a_terminals_controls(
    shown: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shown()
    told = "".join(capsys.readouterr())
    assert "gone" in told
    assert [letter for letter in told if not letter.isprintable() and letter != "\n"] == []


def test_a_program_is_told_what_a_person_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rejection = Rejection("clinic", 2, Why.POLICY, "no")
    for facts, text in ((RunList(runs=()), {"runs": []}), ([rejection], [vars(rejection)]), ((), [])):
        tell(facts, "for a person", True)
        assert json.loads(capsys.readouterr().out) == text
        tell(facts, "for a person", False)
        assert capsys.readouterr().out == "for a person\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no"), ExitCode.USAGE),
        (IdentityError("no"), ExitCode.USAGE),
        (ProblemError(404, Problem(title="", detail="")), ExitCode.USAGE),
        (ProblemError(503, Problem(title="", detail="")), ExitCode.FAILED),
        (ValueError("no"), ExitCode.FAILED),
    ],
)
def test_the_exit_code_says_whose_fault_it_was(error: Exception, code: ExitCode) -> None:
    assert code_of(error) is code


def test_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show(ConfigError("what", where="place", mend="do that"))
    told = capsys.readouterr()
    assert told.out == ""
    assert all(word in told.err for word in ("what", "place", "do that"))
    assert err.stderr
