"""The card of a data set: what it is, whose parties it has, and how one gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Task: TypeAlias = Literal["classification", "regression", "next character"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A data set in a few lines.

    `features` is the shape of one example. `classes` is None for a regression. `examples` counts the training and the
    test examples. `party` names the natural party columns, the default first, and `parties` says how many parties each
    makes. `extra` is the optional dependency that brings the data (`pip install "comity[extra]"`); `files` says which
    files are read instead, where they are the user's own.
    """

    name: str
    title: str
    task: Task
    features: tuple[int, ...]
    examples: int
    classes: int | None = None
    party: tuple[str, ...] = ()
    parties: tuple[int, ...] = ()
    licence: str = ""
    source: str = ""
    extra: str = ""
    files: str = ""
