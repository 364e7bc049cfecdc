"""Known answers of committee mode, for other implementations too: `python -m support.lattice_vectors FILE` writes them.

They hold what is not in those of helper mode: public polynomials, secrets, shares, errors, masked vectors, combinations
and the sum. Long vectors of elements are given by the SHA-256 of their little-endian bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.field import uniform
from comity.protocols.secure_sum.keystream import KEY, Keystream
from comity.protocols.secure_sum.ring import N, errors, public_polynomials
from comity.protocols.secure_sum.sharing import Sharing
from comity.protocols.secure_sum.streams import little_endian
from support.helper_rounds import numbers_of
from support.lattice_rounds import LatticeRound, lattice_world
from support.secure_sums import tokens

ROOT = bytes(range(32))
"""Stands for the root of all signatures, which depends on the ephemeral keys of sealed boxes."""


def answers() -> dict[str, Any]:
    """Three parties and a committee of ten: t = 3, l = 2, vectors of 50."""
    world = lattice_world()
    round_ = LatticeRound.of(world)
    numbers = numbers_of(world, range(3))
    terms, sharing = world.terms, Sharing.of(world.terms)
    parties = []
    for position, own in numbers.items():
        token = tokens(f"secrets of {world.parties[position].name}")
        keys = [token(KEY), token(KEY)]
        stream = Keystream(keys[0])
        secret = uniform(stream, N)
        shares = sharing.shares(secret, stream)
        weights = sharing.challenge(terms.context, ROOT, position)
        parties.append(
            {
                "numbers": own.tolist(),
                "keys": [key.hex() for key in keys],
                "secret": {"first": secret[:4].tolist(), "sha256": digest(secret)},
                "shares": [digest(share) for share in shares],
                "errors": errors(Keystream(keys[1]), terms.length).tolist(),
                "masked": round_.upload(position, own)[1].tolist(),
                "challenge": {"first": weights[:4].tolist(), "sha256": digest(weights)},
                "combinations": [sharing.combination(share, weights) for share in shares],
            }
        )
    round_.promises.clear()
    total = round_.run(numbers)
    first = public_polynomials(terms.context, 0, 1)
    return {
        "specification": "comity/secure-sum/1, committee mode",
        "terms": {"bytes": terms.encode().hex(), "context": terms.context.hex()},
        "sharing": {"c": sharing.members, "t": sharing.threshold, "l": sharing.blocks},
        "signatures": ROOT.hex(),
        "public_polynomial": {"first": first[0, :4].tolist(), "sha256": digest(first[0])},
        "parties": parties,
        "sum": total.tolist(),
    }


def digest(elements: NDArray[np.uint32]) -> str:
    return hashlib.sha256(little_endian(elements)).hexdigest()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(answers(), indent=1) + "\n", "utf-8")
