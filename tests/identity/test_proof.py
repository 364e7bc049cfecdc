"""Who asks for new keys shows that it holds them: for itself, in its own deployment, and for these two keys alone."""

from __future__ import annotations

import pytest

from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.proof import proves, rekey

SIGNING, AGREEMENT = SigningKey.new(), AgreementKey.new()
WISH = rekey("north", "north-sea", SIGNING, AGREEMENT)


def test_the_holder_of_a_key_can_ask_for_it() -> None:
    assert proves(WISH, "north", "north-sea")


@pytest.mark.parametrize(("name", "deployment"), [("south", "north-sea"), ("north", "baltic"), ("", "")])
def test_a_wish_is_of_no_use_to_anybody_else(name: str, deployment: str) -> None:
    assert not proves(WISH, name, deployment)


def test_a_key_that_one_does_not_hold_cannot_be_claimed() -> None:
    theirs = SigningKey.new().public
    assert not proves(WISH.model_copy(update={"signing_key": theirs}), "north", "north-sea")


def test_the_agreement_key_is_part_of_the_wish() -> None:
    assert not proves(WISH.model_copy(update={"agreement_key": AgreementKey.new().public}), "north", "north-sea")


def test_what_is_signed_is_no_request_and_no_roster() -> None:
    assert not proves(WISH.model_copy(update={"proof": SIGNING.sign(b"").hex()}), "north", "north-sea")
