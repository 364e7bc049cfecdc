"""How the studies read curves, search rates and write tables."""

from collections.abc import Sequence

import measure
import pytest
import study
from hypothesis import given
from hypothesis import strategies as st

curves = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(curves, st.floats(0, 1))
def test_a_curve_crosses_exactly_if_it_reaches_the_target_and_not_after_it_first_does(
    values: Sequence[float], target: float
) -> None:
    at = list(range(1, len(values) + 1))
    where = study.crossing(at, values, target)
    first = next((k for k, value in zip(at, values, strict=True) if value >= target), None)
    if first is None:
        assert where is None
    else:
        assert where is not None
        assert first - 1 <= where <= first
        assert where >= 1


@given(curves)
def test_the_monotone_curve_never_falls_and_is_never_below(values: Sequence[float]) -> None:
    best = study.monotone(values)
    assert best == sorted(best)
    assert all(b >= v for b, v in zip(best, values, strict=True))
    assert best[-1] == max(values)


def test_a_crossing_is_interpolated_between_evaluations() -> None:
    assert study.crossing([5, 10, 15], [0.5, 0.4, 0.9], 0.6) == pytest.approx(11.25)


def test_a_search_walks_to_the_best_rate_and_gives_no_other_more_rounds() -> None:
    rounds = {0.1: 50.0, 0.2: 30.0, 0.4: 20.0, 0.8: 35.0, 1.6: 1.0}
    asked: list[tuple[float, int]] = []

    def needs(lr: float, cap: int) -> float | None:
        asked.append((lr, cap))
        return rounds[lr] if rounds[lr] <= cap else None

    found = study.walk(tuple(rounds), 0.1, 100, needs)
    assert asked == [(0.1, 100), (0.2, 50), (0.4, 30), (0.8, 20)]
    assert study.best(found) == (0.4, 20.0)


def test_a_search_turns_round_where_its_first_step_is_worse() -> None:
    rounds = {0.1: 10.0, 0.2: 20.0, 0.4: 30.0}
    found = study.walk(tuple(rounds), 0.2, 100, lambda lr, cap: rounds[lr] if rounds[lr] <= cap else None)
    assert found == {0.2: 20.0, 0.4: None, 0.1: 10.0}


def test_a_target_that_no_rate_reaches_has_no_best() -> None:
    assert study.best(study.walk((0.1, 0.2), 0.1, 5, lambda lr, cap: None)) is None


def test_a_table_replaces_what_stands_between_its_own_markers() -> None:
    page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb <!-- y --><!-- end of y -->"
    once = measure.between(page, "x", "new")
    assert once == "a\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nb <!-- y --><!-- end of y -->"
    assert measure.between(once, "x", "new") == once


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no markers <!-- x -->"):
        measure.between("a page", "x", "new")


def test_a_command_names_no_folder_of_this_machine() -> None:
    argv = ["/somewhere/parity.py", "--data", "/mine", "--quick", "--json", "/mine/too", "--write-docs", "--seeds", "2"]
    assert measure.command(argv) == "python benchmarks/parity.py --data FOLDER --quick --seeds 2"
