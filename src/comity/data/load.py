"""Loading a data set of the catalogue by name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.card import Card
from comity.data.catalogue import catalogue
from comity.data.dataset import Dataset, as_seed


def load(name: str, *, folder: str | Path | None = None, party: str | None = None, seed: int | Seed = 7) -> Dataset:
    """The data set of that name.

    `folder` holds the files of data sets that are the user's to bring; without it the environment variable COMITY_DATA
    names the folder. `party` chooses among several natural party columns (`load("insteval", party="student")`). `seed`
    draws the test set, a fifth of the rows stratified by label and party, where no standard one is published. Raises
    `DataError` for an unknown name or column and for files that are missing or malformed, and `MissingDependency` for
    a package that is not installed.
    """
    chosen = card(name)
    if party is not None and party not in chosen.party:
        raise DataError(
            f"no party column {party!r}",
            where=f'load("{name}")',
            mend=f"use one of: {', '.join(chosen.party)}" if chosen.party else "use a partition, such as IID",
        )
    return _load(chosen, folder, party, as_seed(seed).child("data", name=name))


def card(name: str) -> Card:
    """The card of a data set. Raises `DataError` for an unknown name, with the nearest ones."""
    cards = {card.name: card for card in catalogue()}
    if name in cards:
        return cards[name]
    near = get_close_matches(name, cards, n=3) or list(cards)
    raise DataError(f"no data set is named {name!r}", where="load", mend=f"did you mean {', '.join(near)}?")


def _load(card: Card, folder: str | Path | None, party: str | None, seed: Seed) -> Dataset:
    """Each source is imported when a data set of its kind is asked for."""
    if card.extra == "sklearn":
        from comity.data.sources.bundled import load_bundled

        return load_bundled(card, seed)
    if card.name == "shakespeare":
        from comity.data.sources.plays import load_plays

        return load_plays(card, folder)
    if card.extra == "datasets":
        from comity.data.sources.tables import load_table

        return load_table(card, party, seed)
    if card.name.startswith("cifar"):
        from comity.data.sources import cifar

        return (cifar.load_cifar10 if card.name == "cifar10" else cifar.load_cifar100)(card, folder)
    from comity.data.sources.idx import load_idx

    if card.name.startswith("emnist"):
        split = card.name.removeprefix("emnist").removeprefix("_") or "balanced"
        return load_idx(card, folder, f"emnist-{split}-", transposed=True, first=1 if split == "letters" else 0)
    return load_idx(card, folder)
