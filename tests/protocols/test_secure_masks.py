"""Masks from seeds: who holds which, and streams that can be entered at any place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.masks import RUN, Masks, commitment, held, stream_key, subsets, summed

Derivation = Callable[[bytes, int, int, bytes], bytes]
KEYS = [bytes([number]) * 16 for number in range(3)]
WORDS = 2 * RUN + 9


@pytest.mark.parametrize(("c", "t", "seeds"), [(3, 1, 3), (5, 2, 10), (7, 3, 35)])
def test_t_helpers_lack_a_seed_and_one_more_has_it(c: int, t: int, seeds: int) -> None:
    assert len(subsets(c, t)) == seeds
    for corrupt in combinations(range(c), t):
        known = {number for member in corrupt for number in held(c, t, member)}
        assert set(range(seeds)) - known == {subsets(c, t).index(corrupt)}
    for live in combinations(range(c), t + 1):
        assert {number for member in live for number in held(c, t, member)} == set(range(seeds))


def reference(key: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    encryptor = Cipher(algorithms.AES128(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(encryptor.update(bytes(4 * WORDS)), dtype="<u4").astype(np.uint32)


def test_a_mask_is_the_wrapping_sum_of_the_streams() -> None:
    expected = sum((reference(key) for key in KEYS), start=np.zeros(WORDS, dtype=np.uint32))
    np.testing.assert_array_equal(np.concatenate(list(summed(KEYS, WORDS))), expected)


@given(st.integers(0, WORDS - 1), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_stream_can_be_entered_anywhere(start: int, length: int) -> None:
    whole = reference(KEYS[0])[start : start + length]
    run = np.zeros(len(whole), dtype=np.uint32)
    Masks(KEYS[:1]).add(start, run)
    np.testing.assert_array_equal(run, whole)


def test_a_stream_goes_on_beyond_a_run() -> None:
    run = np.zeros(WORDS - 5, dtype=np.uint32)
    Masks(KEYS[:1]).add(5, run)
    np.testing.assert_array_equal(run, reference(KEYS[0])[5:])


@pytest.mark.parametrize("derive", [commitment, stream_key])
def test_keys_and_commitments_differ_by_everything_they_are_bound_to(derive: Derivation) -> None:
    base = (b"c" * 32, 1, 2, b"s" * 16)
    others = [(b"d" * 32, 1, 2, b"s" * 16), (b"c" * 32, 2, 2, b"s" * 16), (b"c" * 32, 1, 1, b"s" * 16)]
    others.append((b"c" * 32, 1, 2, b"t" * 16))
    assert len({derive(*arguments) for arguments in (base, *others)}) == 5
    assert derive(*base) == derive(*base)
