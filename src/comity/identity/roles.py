"""What each role may do: one table, asked by one function. What is not in the table is forbidden.

The table is about kinds of things. Whether this run or that blob is the asker's own is asked where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from comity.wire.messages import RoleName

Role: TypeAlias = RoleName


class Action(StrEnum):
    """Everything that a signed request may ask for."""

    READ_ROSTER = "read the roster"
    PUBLISH_ROSTER = "publish a roster that the registrar signed"
    READ_STANDING = "read one's own entry"
    ROTATE_KEY = "change one's own keys"
    ASK_WORK = "ask for work"
    CONTRIBUTE = "contribute to a round, or refuse to"
    READ_JOB = "read a run's job and its source"
    READ_BLOB = "read a blob of a run"
    SEND_PARTS = "send parts of blobs"
    SUBMIT = "submit a job"
    READ_RUNS = "read runs and their rounds"
    STEER_RUN = "stop and resume a run"
    LIST_NODES = "list the nodes"
    CHANGE_NODE = "change a node's tags"
    REVOKE = "revoke a member"
    INVITE = "invite a member"
    READ_AUDIT = "read the audit"


_ALL: frozenset[Role] = frozenset(("admin", "researcher", "auditor", "node"))
_PEOPLE: frozenset[Role] = frozenset(("admin", "researcher", "auditor"))
_USERS: frozenset[Role] = frozenset(("admin", "researcher"))
_OVERSEERS: frozenset[Role] = frozenset(("admin", "auditor"))
_ADMIN: frozenset[Role] = frozenset(("admin",))
_NODE: frozenset[Role] = frozenset(("node",))

PERMITTED: Mapping[Action, frozenset[Role]] = MappingProxyType(
    {
        Action.READ_ROSTER: _ALL,
        Action.PUBLISH_ROSTER: _ADMIN,
        Action.READ_STANDING: _ALL,
        Action.ROTATE_KEY: _ALL,
        Action.ASK_WORK: _NODE,
        Action.CONTRIBUTE: _NODE,
        Action.READ_JOB: _ALL,
        Action.READ_BLOB: _USERS | _NODE,
        Action.SEND_PARTS: _USERS | _NODE,
        Action.SUBMIT: _USERS,
        Action.READ_RUNS: _PEOPLE,
        Action.STEER_RUN: _USERS,
        Action.LIST_NODES: _PEOPLE,
        Action.CHANGE_NODE: _ADMIN,
        Action.REVOKE: _ADMIN,
        Action.INVITE: _ADMIN,
        Action.READ_AUDIT: _OVERSEERS,
    }
)


def permitted(role: str, action: Action) -> bool:
    """Whether a role may do this; a role or an action that the table does not know may do nothing."""
    return role in PERMITTED.get(action, frozenset())
