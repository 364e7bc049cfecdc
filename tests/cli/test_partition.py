"""Partitions as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity import data
from comity.cli.partition import parse
from comity.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("natural", data.Natural()),
        ("natural(column='school')", data.Natural(column="school")),
        ("iid(parties=3)", data.IID(parties=3)),
        (" Dirichlet(parties=40, alpha=0.3) ", data.Dirichlet(parties=40, alpha=0.3)),
        ("shards(parties=5, shards_per_party=2)", data.Shards(parties=5)),
        ("label_count(parties=5, labels=2)", data.LabelCount(parties=5, labels=2)),
        ("LabelCount(parties=5, labels=2)", data.LabelCount(parties=5, labels=2)),
        ("quantity_log_normal(parties=5)", data.QuantityLogNormal(parties=5)),
        ("quantity_power_law(parties=5)", data.QuantityPowerLaw(parties=5)),
        ("feature_shift(parties=5)", data.FeatureShift(parties=5)),
    ],
)
def test_every_partition_has_a_name(text: str, partition: data.Partition) -> None:
    assert parse(text) == partition


@given(st.integers(1, 10**6), st.floats(0.01, 100))
def test_a_partition_is_read_back_from_its_own_text(parties: int, alpha: float) -> None:
    partition = data.Dirichlet(parties=parties, alpha=alpha)
    assert parse(repr(partition)) == partition


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("dirichlet(parties=40", "write, for example"),
        ("dirichlet(40, 0.3)", "write, for example"),
        ("by_school(parties=4)", "the names are iid"),
        ("iid(partys=4)", "its arguments are parties, minimum"),
        ("dirichlet(parties=4)", "its arguments are parties, alpha"),
        ("iid(parties=open('x'))", "write, for example"),
        ("__import__('os').system('true')", "write, for example"),
        ("", "write, for example"),
    ],
)
def test_other_text_is_refused_with_its_mend(text: str, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.where == "--partition"
    assert mend in caught.value.mend
