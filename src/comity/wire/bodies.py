"""Bodies as bytes to bodies as messages: the limit first, then the parser, then the types."""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from comity.core.errors import ComityError

MAX_VALUES = 150_000
"""A body from somebody unknown may hold so many values: each costs the parser some hundred bytes, right or wrong."""

M = TypeVar("M", bound=BaseModel)

# Possessive quantifiers: whatever a body holds, the scan never goes back, and a string without an end is one, too.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+', re.DOTALL)


class BodyError(ComityError):
    """A body that is not the message it should be; `where` names the field."""


class TooLarge(BodyError):
    """A body of more bytes than may be read."""


def parse(kind: type[M], body: bytes, limit: int, values: int = MAX_VALUES) -> M:
    """The message of class `kind` that `body` is, in at most `limit` bytes of JSON that hold about `values` values.

    The parser itself goes down 200 arrays or objects and no further. Raises `TooLarge`, or `BodyError` that names the
    field; the values that a body holds are not repeated in the error.
    """
    name = kind.__name__
    if len(body) > limit:
        raise TooLarge(f"the body has {len(body)} bytes", where=name, mend=f"send at most {limit} bytes")
    # Most bodies have few commas even with those in their texts, and are not scanned.
    if body.count(b",") > values and _STRING.sub(b"", body).count(b",") > values:
        raise TooLarge(f"the body holds more than {values} values", where=name)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(str(step) for step in fault["loc"])
        # A field that nobody knows is named by its sender: it is shown short and in plain characters.
        place = path.encode("unicode_escape").decode("ascii")[:200]
        raise BodyError(fault["msg"], where=f"{name}.{place}" if place else name) from None
