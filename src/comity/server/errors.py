"""What the server refuses, as errors that the API turns into statuses."""

from __future__ import annotations

from comity.core.errors import ComityError


class Unauthenticated(ComityError):
    """Nobody knows who asks. The cause is for the log; who asks is told the same whatever it was."""


class Forbidden(ComityError):
    """The role of who asks does not cover this."""


class NotFound(ComityError):
    """It is not there, or not for who asks."""


class Conflict(ComityError):
    """The request does not fit what is there."""


class Unreadable(ComityError):
    """A run whose journal this version does not understand. It costs nobody else's run anything."""


class Unfit(ComityError):
    """The request is well formed, and asks what cannot be."""


class TooMuch(ComityError):
    """A body of more bytes than are taken, or one that does not end."""


class TooMany(ComityError):
    """More requests than are served."""
