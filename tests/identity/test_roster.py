"""The roster: the registrar's word on who is who, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.roster import MAX_AGE, SKEW, check_roster, check_word, sign_roster, signed_bytes
from comity.wire.messages import Member, Roster

REGISTRAR = SigningKey.new()
NOW = 1_750_000_000.0


def member(name: str, **fields: Any) -> Member:
    keys = {"signing_key": SigningKey.new().public, "agreement_key": AgreementKey.new().public}
    return Member(**({"name": name, "role": "node", "enrolled": NOW - 10, "expires": NOW + 10} | keys | fields))


MEMBERS = [member("south", tags=("icu",)), member("north", role="admin"), member("east", revoked=True)]
ROSTER = sign_roster(MEMBERS, "north-sea", NOW, REGISTRAR)


def refusal(roster: Roster, registrar: str = REGISTRAR.public, now: float = NOW) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        check_roster(roster, registrar, now)
    return caught.value


def changed(**fields: Any) -> Roster:
    return ROSTER.model_copy(update=fields)


def test_the_registrars_roster_is_good_after_it_has_travelled() -> None:
    check_roster(Roster.model_validate_json(ROSTER.model_dump_json()), REGISTRAR.public, NOW)


def test_the_order_of_members_does_not_matter_to_the_signer() -> None:
    assert sign_roster(reversed(MEMBERS), "north-sea", NOW, REGISTRAR) == ROSTER


def test_an_empty_roster_can_be_signed() -> None:
    check_roster(sign_roster([], "north-sea", NOW, REGISTRAR), REGISTRAR.public, NOW)


def test_what_is_signed_is_no_request_and_no_other_text() -> None:
    assert signed_bytes([], "north-sea", NOW, NOW + 1).startswith(b"comity roster 1\n{")


class TestForged:
    def test_by_another_registrar(self) -> None:
        assert "registrar" in refusal(ROSTER, SigningKey.new().public).what

    def test_for_another_deployment(self) -> None:
        assert "registrar" in refusal(changed(deployment="baltic")).what

    def test_with_another_date(self) -> None:
        assert "registrar" in refusal(changed(issued=NOW + 1)).what
        assert "registrar" in refusal(changed(expires=ROSTER.expires + 1)).what

    def test_with_another_signature(self) -> None:
        assert "registrar" in refusal(changed(signature="00" * 64)).what

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "west"},
            {"role": "admin"},
            {"signing_key": SigningKey.new().public},
            {"agreement_key": AgreementKey.new().public},
            {"enrolled": 0.0},
            {"expires": NOW * 2},
            {"revoked": True},
            {"tags": ("icu", "trial")},
        ],
    )
    def test_with_anything_changed_of_a_member(self, fields: dict[str, Any]) -> None:
        south = ROSTER.members[-1].model_copy(update=fields)
        assert "registrar" in refusal(changed(members=(*ROSTER.members[:-1], south))).what

    def test_with_a_member_more_or_less_or_moved(self) -> None:
        for members in (ROSTER.members[1:], (*ROSTER.members, member("west")), ROSTER.members[::-1], ()):
            assert "registrar" in refusal(changed(members=tuple(members))).what

    def test_what_changes_by_the_minute_is_not_the_registrars_word(self) -> None:
        seen = ROSTER.members[0].model_copy(update={"seen": NOW, "datasets": ("scans",)})
        check_roster(changed(members=(seen, *ROSTER.members[1:])), REGISTRAR.public, NOW)


class TestAge:
    def test_a_roster_is_good_for_a_week(self) -> None:
        check_roster(ROSTER, REGISTRAR.public, NOW + MAX_AGE)
        assert "good no more" in refusal(ROSTER, now=NOW + MAX_AGE + 1).what

    def test_or_for_as_long_as_its_registrar_says(self) -> None:
        day = sign_roster(MEMBERS, "north-sea", NOW, REGISTRAR, valid=86400.0)
        check_roster(day, REGISTRAR.public, NOW + 86400)
        assert "good no more" in refusal(day, now=NOW + 86401).what
        check_word(day, REGISTRAR.public)

    def test_a_roster_from_the_future_is_refused(self) -> None:
        check_roster(ROSTER, REGISTRAR.public, NOW - SKEW)
        assert "clock" in refusal(ROSTER, now=NOW - SKEW - 1).mend


class TestDoubles:
    """Even the registrar cannot give two members one name or one key."""

    @pytest.mark.parametrize(
        ("fields", "what"),
        [(("name",), "name"), (("signing_key",), "signing key"), (("agreement_key",), "agreement key")],
    )
    def test_two_with_the_same(self, fields: tuple[str, ...], what: str) -> None:
        first = member("north")
        second = member("south").model_copy(update={name: getattr(first, name) for name in fields})
        assert what in refusal(sign_roster([first, second], "north-sea", NOW, REGISTRAR)).what
