"""Text by speaker: the next character from the ones before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from comity.core.errors import DataError
from comity.data.card import Card
from comity.data.columns import PartyColumn
from comity.data.dataset import Dataset
from comity.data.examples import Examples

WINDOW = 80
_TEST = 0.2
_SPEAKER = re.compile(r"(?m)^([A-Z][^\n:.!?]{0,40}):[ \t]*\n")


def from_text(
    source: Mapping[str, str] | str | Path, *, window: int = WINDOW, stride: int = 1, card: Card | None = None
) -> Dataset:
    """Next-character examples: `window` characters of one speaker, and the character that follows.

    `source` maps speakers to their text; or is a folder with one `.txt` file for each speaker; or a file in which each
    speech begins with a line `NAME:`. Every `stride`-th position makes an example. Features `[N, window]` are positions
    in the alphabet, the sorted characters of all texts; they are windows into one array, never copied. The last fifth
    of each speaker's characters are the targets of the test set. Speakers with fewer than 2 · `window` characters are
    left out. In the manner of LEAF (Caldas et al. 2018, arXiv 1812.01097).
    """
    if window < 1 or stride < 1:
        raise DataError(f"window {window}, stride {stride}", where="from_text", mend="give numbers of 1 or more")
    where = str(source) if isinstance(source, str | Path) else "from_text"
    spoken = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    texts = {name: text for name, text in sorted(spoken.items()) if len(text) >= 2 * window}
    if not texts:
        raise DataError(
            f"no speaker has {2 * window} characters", where=where, mend="give longer texts or a shorter window"
        )
    points = np.frombuffer("".join(texts.values()).encode("utf-32-le"), np.uint32)
    alphabet = np.flatnonzero(np.bincount(points))
    place = np.zeros(int(alphabet[-1]) + 1, np.uint8 if len(alphabet) <= 256 else np.int32)
    place[alphabet] = np.arange(len(alphabet))
    tokens = place[points]
    x = np.lib.stride_tricks.sliding_window_view(tokens, window)[:-1]
    y = tokens[window:].astype(np.int64)
    train, test, parties = _positions([len(text) for text in texts.values()], window, stride)
    names = tuple(texts)
    count = len(train) + len(test)
    described = card or Card(
        name="text",
        title=f"{len(names):,} speakers of your own",
        task="next character",
        features=(window,),
        examples=count,
        classes=len(alphabet),
        party=("speaker",),
        parties=(len(names),),
    )
    return Dataset(
        described,
        Examples(x, y, train),
        Examples(x, y, test),
        {"speaker": PartyColumn(names, parties)},
        labels=tuple(chr(point) for point in alphabet.tolist()),
        ordered=True,
    )


def speeches(text: str) -> dict[str, str]:
    """The text of each speaker in a script where a line `NAME:` begins a speech."""
    parts = _SPEAKER.split(text)
    spoken: dict[str, list[str]] = {}
    for name, words in zip(parts[1::2], parts[2::2], strict=True):
        spoken.setdefault(name.strip(), []).append(words.strip() + "\n")
    return {name: "".join(words) for name, words in spoken.items()}


def _positions(lengths: list[int], window: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of training and test examples, and the speaker of each training example."""
    train, test, parties = [], [], []
    start = 0
    for speaker, length in enumerate(lengths):
        rows = np.arange(start, start + length - window, stride, dtype=np.int64)
        cut = start + int(length * (1 - _TEST)) - window
        train.append(rows[rows < cut])
        test.append(rows[rows >= cut])
        parties.append(np.full(len(train[-1]), speaker, np.int32))
        start += length
    return np.concatenate(train), np.concatenate(test), np.concatenate(parties)


def _read(path: Path) -> dict[str, str]:
    try:
        if path.is_dir():
            return {file.stem: file.read_text(encoding="utf-8") for file in sorted(path.glob("*.txt"))}
        return speeches(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), mend="give UTF-8 text files") from error
