"""Seeds: derived by purpose, the same everywhere, independent of each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comity.core.seeds import Seed

labels = st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.integers() | st.text(max_size=8), max_size=3)


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert Seed.of(7).key.hex() == "49b4b6975ceb2f0dc6c60d9036ef6325"
    assert Seed.of(7).child("order", round=3, party="p12").key.hex() == "ae8d5555a76f89dd18b70171c6ca87e4"


def test_the_order_of_labels_does_not_matter() -> None:
    assert Seed.of(1).child("x", a=1, b=2) == Seed.of(1).child("x", b=2, a=1)


def test_a_number_and_its_text_are_different_labels() -> None:
    assert Seed.of(1).child("x", a=1) != Seed.of(1).child("x", a="1")


@given(st.text(max_size=8), labels, st.text(max_size=8), labels)
def test_children_differ_exactly_when_purpose_or_labels_do(
    one: str, first: dict[str, int | str], two: str, second: dict[str, int | str]
) -> None:
    same = one == two and first == second
    assert (Seed.of(0).child(one, **first) == Seed.of(0).child(two, **second)) == same


def test_generators_repeat_and_siblings_are_uncorrelated() -> None:
    seed = Seed.of(5)
    draws = [seed.child("noise", party=k).rng().standard_normal(2000) for k in range(2)]
    assert np.array_equal(draws[0], seed.child("noise", party=0).rng().standard_normal(2000))
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.1


def test_integers_fit_into_63_bits() -> None:
    assert all(0 <= Seed.of(k).integer() < 2**63 for k in range(100))


@given(st.integers(0, 50), st.integers(0, 200))
def test_a_permutation_is_the_one_that_a_generator_gives(number: int, count: int) -> None:
    seed = Seed.of(number)
    seed.child("before").permutation(7)
    assert np.array_equal(seed.permutation(count), seed.rng().permutation(count))
