"""Invitations: one line that is whole or is refused, that names one joiner, and that ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.identity.errors import IdentityError
from comity.identity.invitation import Invitation, secret_digest
from comity.wire.base64url import encode

INVITATION = Invitation("https://server.example.org:8443", "ab" * 32, "5e" * 32, "north", "node", 1_750_000_000.5)


def token_of(**fields: Any) -> str:
    """A token whose checksum is right, whatever its fields are."""
    known = {
        "address": INVITATION.address,
        "fingerprint": INVITATION.fingerprint,
        "secret": INVITATION.secret,
        "name": "north",
        "role": "node",
        "expires": 1.0,
    }
    content = json.dumps({name: value for name, value in (known | fields).items() if value is not None}).encode()
    return "comity1." + encode(hashlib.sha256(content).digest()[:6] + content)


class TestWhole:
    def test_an_invitation_comes_back_from_its_token(self) -> None:
        assert Invitation.of(INVITATION.token) == INVITATION

    def test_a_token_is_one_word_that_a_shell_does_not_touch(self) -> None:
        assert INVITATION.token.replace("-", "").replace("_", "").replace(".", "").isalnum()
        assert INVITATION.token.isascii()

    def test_blanks_around_it_do_no_harm(self) -> None:
        assert Invitation.of(f"  {INVITATION.token}\n") == INVITATION

    def test_a_server_that_every_system_trusts_needs_no_fingerprint(self) -> None:
        public = replace(INVITATION, fingerprint="")
        assert Invitation.of(public.token) == public

    def test_the_secret_is_not_shown(self) -> None:
        assert INVITATION.secret not in repr(INVITATION)


class TestGarbled:
    def refusal(self, token: str) -> IdentityError:
        with pytest.raises(IdentityError) as caught:
            Invitation.of(token)
        return caught.value

    @given(st.data())
    def test_every_changed_character_is_noticed(self, data: st.DataObject) -> None:
        token = INVITATION.token
        place = data.draw(st.integers(0, len(token) - 1))
        letter = data.draw(st.characters().filter(lambda letter: letter != token[place]))
        changed = token[:place] + letter + token[place + 1 :]
        if changed.strip() != token:
            self.refusal(changed)

    @given(st.integers(0, len(INVITATION.token) - 1))
    def test_every_cut_is_noticed(self, length: int) -> None:
        self.refusal(INVITATION.token[:length])

    @given(st.text(max_size=100))
    def test_anything_else_is_refused(self, text: str) -> None:
        self.refusal(text)
        self.refusal("comity1." + text)

    def test_a_token_of_a_megabyte_is_refused(self) -> None:
        self.refusal("comity1." + "A" * (1 << 20))

    def test_the_error_says_what_to_do_and_keeps_the_secret(self) -> None:
        error = self.refusal(INVITATION.token[:-5])
        assert "copy the whole token" in error.mend
        assert INVITATION.token[20:40] not in str(error)

    @pytest.mark.parametrize(
        "fields",
        [
            {"address": "http://server"},
            {"address": "https://"},
            {"address": "https://a b"},
            {"fingerprint": "ab" * 31},
            {"fingerprint": None},
            {"secret": ""},
            {"secret": "short"},
            {"name": "../north"},
            {"role": "root"},
            {"expires": "never"},
            {"expires": None},
            {"expires": float("inf")},
            {"extra": 1},
        ],
    )
    def test_fields_that_do_not_fit_are_refused_although_the_checksum_is_right(self, fields: dict[str, Any]) -> None:
        assert Invitation.of(token_of()).name == "north"
        self.refusal(token_of(**fields))


class TestEnd:
    def test_an_invitation_is_good_until_it_expires(self) -> None:
        INVITATION.check(INVITATION.expires - 0.001)

    @pytest.mark.parametrize("late", [0.0, 1.0, 1e6])
    def test_an_expired_one_is_refused_and_the_mend_is_named(self, late: float) -> None:
        with pytest.raises(IdentityError, match="expired") as caught:
            INVITATION.check(INVITATION.expires + late)
        assert "comity server invite" in caught.value.mend


class TestSecret:
    def test_a_server_keeps_a_digest_that_does_not_give_the_secret_away(self) -> None:
        assert secret_digest("s" * 32) == hashlib.sha256(b"s" * 32).hexdigest()

    def test_any_text_has_a_digest(self) -> None:
        assert len({secret_digest(text) for text in ("", "é", "\ud800", "\x00")}) == 4
