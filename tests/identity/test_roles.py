"""Roles: the whole table, written out a second time and differently; and nothing beyond it."""

import itertools
from typing import get_args

import pytest

from comity.identity.roles import PERMITTED, Action, Role, permitted

OWN = {"READ_ROSTER", "READ_STANDING", "ROTATE_KEY"}
MAY = {
    "node": OWN | {"ASK_WORK", "CONTRIBUTE", "READ_JOB", "READ_BLOB", "SEND_PARTS"},
    "auditor": OWN | {"READ_JOB", "READ_RUNS", "LIST_NODES", "READ_AUDIT"},
    "researcher": OWN
    | {
        "READ_JOB",
        "READ_BLOB",
        "SEND_PARTS",
        "SUBMIT",
        "READ_RUNS",
        "STEER_RUN",
        "LIST_NODES",
    },
    "admin": {action.name for action in Action} - {"ASK_WORK", "CONTRIBUTE"},
}


@pytest.mark.parametrize(("role", "action"), list(itertools.product(get_args(Role), Action)))
def test_each_role_may_do_what_it_is_for_and_nothing_else(role: str, action: Action) -> None:
    assert permitted(role, action) == (action.name in MAY[role])


def test_every_action_is_decided_on() -> None:
    assert set(PERMITTED) == set(Action)


@pytest.mark.parametrize("role", ["", "Admin", "root", "admin ", "*"])
def test_a_role_that_nobody_has_may_do_nothing(role: str) -> None:
    assert not any(permitted(role, action) for action in Action)


def test_the_table_cannot_be_changed_while_it_is_used() -> None:
    with pytest.raises(TypeError):
        PERMITTED[Action.INVITE] = frozenset()  # type: ignore[index]
