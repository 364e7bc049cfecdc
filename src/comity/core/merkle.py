"""Merkle trees over lists of bytes: root, inclusion and consistency proofs (RFC 9162, section 2.1, SHA-256).

A root stands for a list and its order. An inclusion proof shows that one entry is in it at one place; a consistency
proof shows that a longer list begins with a shorter one, so nothing in it was changed or taken out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

DIGEST = 32
"""The length of every hash here, in bytes."""


def root(entries: Iterable[bytes]) -> bytes:
    """The hash of the tree over `entries`: 32 bytes, and SHA-256 of nothing where there are none."""
    return root_of([leaf(entry) for entry in entries])


def leaf(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The hash of the tree over the hashes of its entries."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes that lead from the leaf at `index` to the root, lowest first (RFC 9162, 2.1.3.1).

    Raises `IndexError` where there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"a tree of {len(leaves)} leaves has no leaf {index}")
    path: list[bytes] = []
    start, stop = 0, len(leaves)
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(root_of(leaves[middle:stop]))
            stop = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start = middle
    return tuple(reversed(path))


def inclusion_proofs(leaves: Sequence[bytes]) -> tuple[tuple[bytes, ...], ...]:
    """The inclusion proof of every leaf in order, for the price of one root."""
    proofs: list[list[bytes]] = [[] for _ in leaves]
    level, width = list(leaves), 1
    while len(level) > 1:
        for index, proof in enumerate(proofs):
            beside = index // width ^ 1
            if beside < len(level):
                proof.append(level[beside])
        odd = level[-1:] if len(level) % 2 else []
        level = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + odd
        width *= 2
    return tuple(map(tuple, proofs))


def includes(tree: bytes, size: int, index: int, entry: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `entry` stands at `index` of the list of `size` entries whose root is `tree` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, found = index, size - 1, leaf(entry)
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = _node(sibling, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = _node(found, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and found == tree


def consistency_proof(leaves: Sequence[bytes], earlier: int) -> tuple[bytes, ...]:
    """The hashes that show that the tree over the first `earlier` leaves grew into this one (RFC 9162, 2.1.4.1).

    Raises `IndexError` where the tree never had so many leaves; the proof from nothing is empty.
    """
    if not 0 <= earlier <= len(leaves):
        raise IndexError(f"a tree of {len(leaves)} leaves never had {earlier}")
    if earlier in (0, len(leaves)):
        return ()
    path: list[bytes] = []
    start, stop, whole = 0, len(leaves), True
    while earlier != stop:
        middle = start + _split(stop - start)
        if earlier <= middle:
            path.append(root_of(leaves[middle:stop]))
            stop = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start, whole = middle, False
    if not whole:
        path.append(root_of(leaves[start:stop]))
    return tuple(reversed(path))


def extends(old: bytes, old_size: int, new: bytes, new_size: int, proof: Sequence[bytes]) -> bool:
    """Whether the list of `new_size` entries begins with the one of `old_size` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old == new
    if old_size == 0:
        return not proof and old == root_of(())
    steps = list(proof)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old)
    if not steps:
        return False
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    was = now = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            was, now = _node(sibling, was), _node(sibling, now)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            now = _node(now, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and was == old and now == new


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The greatest power of two below `count`."""
    return int(1 << ((count - 1).bit_length() - 1))
