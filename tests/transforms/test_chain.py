"""Chains: transforms, exactly one reducer, server transforms; contradictions are refused with the mend."""

import pytest

from comity.aggregation.mean import Mean
from comity.core.errors import ConfigError
from comity.transforms.chain import Chain, as_chain
from comity.transforms.clip import Clip


def test_a_chain_reads_in_the_order_in_which_values_travel() -> None:
    before, reducer, after = (Clip(1.0) >> Mean() >> Clip(5.0)).split()
    assert (before, reducer, after) == ((Clip(1.0),), Mean(), (Clip(5.0),))


def test_chains_join_whichever_way_they_are_grouped() -> None:
    assert (Clip(1.0) >> (Mean() >> Clip(2.0))) == ((Clip(1.0) >> Mean()) >> Clip(2.0))


def test_a_reducer_alone_is_a_chain_of_one() -> None:
    assert as_chain(Mean()) == Chain((Mean(),))


def test_a_chain_without_a_reducer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no reducer in the chain Clip[\s\S]*Clip\(1\.0\) >> Mean\(\)"):
        as_chain(Clip(1.0)).split()


def test_two_reducers_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 reducers in the chain Mean >> Mean"):
        (Mean() >> Mean()).split()
