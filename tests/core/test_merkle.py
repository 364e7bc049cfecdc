"""Merkle trees: known roots, every proof of every small tree, and no proof for anything else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.merkle import (
    consistency_proof,
    extends,
    includes,
    inclusion_proof,
    inclusion_proofs,
    leaf,
    root,
    root_of,
)

# The test vectors of Certificate Transparency: entries, and the root of each number of them.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 70)


def entries(count: int) -> list[bytes]:
    return [index.to_bytes(2, "big") for index in range(count)]


def leaves(count: int) -> list[bytes]:
    return [leaf(entry) for entry in entries(count)]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root(ENTRIES[:size]).hex() == ROOTS[size - 1]


@given(SIZES, st.data())
def test_every_entry_has_a_proof_that_holds_for_it_alone(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree = root(entries(size))
    proof = inclusion_proof(leaves(size), index)
    assert includes(tree, size, index, entries(size)[index], proof)
    assert not includes(tree, size, index, b"another entry", proof)
    assert not includes(tree, size, size, entries(size)[index], proof)
    assert not includes(tree, size, index, entries(size)[index], (*proof, bytes(32)))
    if proof:
        assert not includes(tree, size, index, entries(size)[index], proof[:-1])
        assert not includes(tree, size, index, entries(size)[index], (bytes(32), *proof[1:]))
    for other in range(size):
        if other != index:
            assert not includes(tree, size, other, entries(size)[index], proof)


@given(st.integers(0, 40))
def test_all_proofs_at_once_are_the_same_as_one_by_one(size: int) -> None:
    leaves = [leaf(bytes([entry])) for entry in range(size)]
    assert inclusion_proofs(leaves) == tuple(inclusion_proof(leaves, index) for index in range(size))


@given(SIZES, st.data())
def test_a_tree_that_grew_has_a_proof_and_one_that_was_changed_has_none(size: int, data: st.DataObject) -> None:
    earlier = data.draw(st.integers(0, size))
    old, new = root(entries(earlier)), root(entries(size))
    proof = consistency_proof(leaves(size), earlier)
    assert extends(old, earlier, new, size, proof)
    assert not extends(old, earlier, new, size, (*proof, bytes(32)))
    assert not extends(bytes(32), earlier, new, size, proof)
    if earlier > 0:
        assert not extends(old, earlier, bytes(32), size, proof)
        changed = leaves(size)
        changed[earlier - 1] = leaf(b"rewritten")
        assert not extends(old, earlier, root_of(changed), size, consistency_proof(changed, earlier))
    if proof:
        assert not extends(old, earlier, new, size, proof[1:])


def test_a_shorter_tree_never_extends_a_longer_one() -> None:
    assert not extends(root(entries(5)), 5, root(entries(4)), 4, ())


def test_a_leaf_or_a_size_that_never_was_has_no_proof() -> None:
    with pytest.raises(IndexError, match="no leaf 3"):
        inclusion_proof(leaves(3), 3)
    with pytest.raises(IndexError, match="never had 4"):
        consistency_proof(leaves(3), 4)
