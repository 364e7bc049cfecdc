"""Known answers of helper mode, for other implementations too: `python -m support.secure_vectors FILE` writes them.

Seeds come from a fixed source; Ed25519 signatures are the same each time. Only the sealed boxes, and with them the
uploads, are new in each run: their ephemeral keys are drawn inside the library. So the uploads are part of what is
given, and everything else follows from them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from comity.protocols.secure_sum.encoding import Message
from comity.protocols.secure_sum.masks import SEED, commitment, stream_key, subsets
from comity.protocols.secure_sum.schema import Answer, Closing, Reveal, Upload
from comity.protocols.secure_sum.streams import little_endian
from comity.protocols.secure_sum.terms import Terms
from support.helper_rounds import Crossed, HelperRound, numbers_of, stored
from support.secure_sums import Keys, World, tokens

CASES = {"helpers-3-1": (3, 3, 1), "helpers-5-2": (4, 5, 2)}
"""Parties, helpers and threshold of each file."""


def world_of(case: str) -> World:
    parties, size, threshold = CASES[case]
    return World.new(parties, size, threshold)


def played(world: World, uploads: dict[int, tuple[Upload, bytes]] | None = None) -> tuple[HelperRound, dict[str, Any]]:
    """A round, with the uploads that are given or with new ones, and everything that is known of it."""
    round_ = HelperRound.of(world)
    numbers = numbers_of(world, range(len(world.parties)))
    if uploads is None:
        round_.collect(numbers)
    else:
        for upload, raw in uploads.values():
            vector = np.frombuffer(raw, dtype="<u4").astype(np.uint32)
            round_.coordinator.accept(upload, stored(vector))
            round_.wire.append(Crossed(world.parties[upload.party].name, "coordinator", upload, vector))
    round_.check()
    certificate = round_.agree()
    round_.reveal()
    proposal = round_.coordinator._agreed()
    facts: dict[str, Any] = {
        "specification": "comity/secure-sum/1, helper mode",
        "keys": {"coordinator": _keys(world.coordinator), **_all_keys("party", world.parties)},
        "terms": {
            "fields": _plain(world.terms),
            "bytes": world.terms.encode().hex(),
            "context": world.terms.context.hex(),
        },
        "announcement": round_.announcement.encode().hex(),
        "roster": {
            "entries": [entry.encode().hex() for entry in world.view.roster.entries],
            "root": world.terms.roster.hex(),
        },
        "committee": {
            "entries": [entry.encode().hex() for entry in world.committee.entries],
            "root": world.terms.committee.hex(),
        },
        "subsets": [list(subset) for subset in subsets(world.terms.size, world.terms.threshold)],
        "parties": [_party(round_, world, position, numbers[position]) for position in range(len(world.parties))],
        "proposal": {"bytes": proposal.encode().hex(), "digest": proposal.digest.hex()},
        "certificate": certificate.encode().hex(),
        "reveals": [_told(one.message) for one in round_.wire if isinstance(one.message, Reveal)],
        "answers": [_told(one.message) for one in round_.wire if isinstance(one.message, Answer)],
        "sum": round_.coordinator.total.view(np.int32).tolist(),
        "closing": _told(round_.coordinator.closing()),
    }
    facts["keys"] |= _all_keys("helper", world.members)
    return round_, facts


def given_uploads(facts: dict[str, Any]) -> dict[int, tuple[Upload, bytes]]:
    """The uploads and masked vectors that a file of known answers gives."""
    return {
        position: (Upload.decode(bytes.fromhex(party["upload"])), bytes.fromhex(party["masked"]))
        for position, party in enumerate(facts["parties"])
    }


def _party(round_: HelperRound, world: World, position: int, numbers: Any) -> dict[str, Any]:
    (sent,) = [one for one in round_.wire if isinstance(one.message, Upload) and one.message.party == position]
    assert sent.vector is not None
    context = world.terms.context
    token = tokens(f"seeds of {world.parties[position].name}")
    seeds = [token(SEED) for _ in range(world.terms.subsets)]
    return {
        "numbers": numbers.tolist(),
        "seeds": [seed.hex() for seed in seeds],
        "commitments": [commitment(context, position, subset, seed).hex() for subset, seed in enumerate(seeds)],
        "stream_keys": [stream_key(context, position, subset, seed).hex() for subset, seed in enumerate(seeds)],
        "masked": bytes(little_endian(sent.vector)).hex(),
        "upload": sent.message.encode().hex(),
    }


def _keys(keys: Keys) -> dict[str, str]:
    return {
        "name": keys.name,
        "ed25519_private": keys.signing.private_bytes_raw().hex(),
        "x25519_private": keys.agreement.private_bytes_raw().hex(),
    }


def _all_keys(role: str, people: tuple[Keys, ...]) -> dict[str, dict[str, str]]:
    return {f"{role} {position}": _keys(keys) for position, keys in enumerate(people)}


def _told(message: Reveal | Answer | Closing) -> str:
    return message.encode().hex()


def _plain(message: Terms) -> dict[str, Any]:
    return {field.name: _value(getattr(message, field.name)) for field in fields(message)}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    if isinstance(value, Message):
        return {name: _value(item) for name, item in vars(value).items()}
    return value


def main(path: Path) -> None:
    """Write the known answers of the case that the file is named after."""
    _, facts = played(world_of(path.stem))
    path.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
