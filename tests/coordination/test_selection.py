"""Drawing parties one at a time, without a list of them."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from comity.coordination.selection import Draw
from comity.core.seeds import Seed

sizes = st.integers(1, 200)
seeds = st.integers(0, 1000).map(Seed.of)


@given(seeds, sizes)
def test_all_draws_together_are_a_permutation(seed: Seed, size: int) -> None:
    assert sorted(Draw(seed, size).take(size + 5)) == list(range(size))


@given(seeds, sizes, st.lists(st.integers(0, 30)))
def test_drawing_in_pieces_gives_what_drawing_at_once_gives(seed: Seed, size: int, pieces: list[int]) -> None:
    draw = Draw(seed, size)
    drawn = [position for piece in pieces for position in draw.take(piece)]
    assert drawn == Draw(seed, size).take(sum(pieces))


@given(seeds, st.data())
def test_a_busy_position_is_drawn_only_once_it_is_free(seed: Seed, data: st.DataObject) -> None:
    size = data.draw(sizes)
    busy = data.draw(st.lists(st.integers(0, size - 1), unique=True))
    freed = data.draw(st.lists(st.sampled_from(busy), unique=True)) if busy else []
    first = data.draw(st.integers(0, size))
    draw = Draw(seed, size, busy)
    drawn = draw.take(first)
    assert not set(drawn) & set(busy)
    for position in freed + freed + drawn:
        draw.free(position)
    drawn += draw.take(size)
    assert sorted(drawn) == sorted(set(range(size)) - set(busy) | set(freed))


@given(seeds, st.data())
def test_a_restored_draw_goes_on_alike(seed: Seed, data: st.DataObject) -> None:
    size = data.draw(sizes)
    busy = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=10))
    draw = Draw(seed, size, busy)
    draw.take(data.draw(st.integers(0, size)))
    for position in busy[::2]:
        draw.free(position)
    restored = Draw.restore(seed, size, json.loads(json.dumps(draw.snapshot())))
    for position in busy[1::2]:
        draw.free(position)
        restored.free(position)
    assert restored.take(size) == draw.take(size)
    assert restored.snapshot() == draw.snapshot()


def test_every_position_is_drawn_equally_often() -> None:
    root, size, count, runs = Seed.of(5), 10, 3, 2000
    drawn = Counter(p for run in range(runs) for p in Draw(root.child("draw", run=run), size, [0]).take(count))
    expected = runs * count / (size - 1)
    assert set(drawn) == set(range(1, size))
    assert all(abs(times - expected) < 5 * expected**0.5 for times in drawn.values())


def test_pairs_are_drawn_equally_often_after_a_position_is_freed() -> None:
    root, runs = Seed.of(6), 3000
    pairs: Counter[tuple[int, ...]] = Counter()
    for run in range(runs):
        draw = Draw(root.child("draw", run=run), 5, [1, 3])
        draw.free(3)
        pairs[tuple(draw.take(2))] += 1
    expected = runs / 12
    assert len(pairs) == 12, "ordered pairs of the four free positions"
    assert all(abs(times - expected) < 5 * expected**0.5 for times in pairs.values())
