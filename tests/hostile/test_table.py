"""The table of this package names tests that there are."""

import re
from pathlib import Path

import hostile

TESTS = Path(__file__).resolve().parents[1]


def test_every_way_has_its_tests() -> None:
    assert hostile.__doc__ is not None
    named = re.findall(r"[a-z]+/(?:test_\w+)\.py(?:::Test\w+)?", hostile.__doc__)
    assert len(named) > 20
    for one in named:
        file, _, kind = one.partition("::")
        assert not kind or f"class {kind}" in (TESTS / file).read_text(), one
        assert (TESTS / file).is_file(), one
