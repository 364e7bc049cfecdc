"""A registrar that no network reaches: it says in words what it is asked for, measured by what it signed last."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, PublicKey, SigningKey, fingerprint
from comity.identity.registrar import Draft, Registrar, changes, read_draft, read_roster
from comity.identity.roster import check_roster, settled
from comity.wire.bodies import BodyError
from comity.wire.messages import Member

NOW = 1_750_000_000.0
DAY = 86400.0


def member(name: str, **fields: Any) -> Member:
    keys = {"signing_key": SigningKey.new().public, "agreement_key": AgreementKey.new().public}
    return Member(**({"name": name, "role": "node", "enrolled": NOW, "expires": NOW + DAY} | keys | fields))


NORTH, SOUTH = member("north"), member("south", tags=("icu",))
KEYS = [(SigningKey.new().public, AgreementKey.new().public) for _ in range(2)]


def changed(before: Member, **fields: Any) -> Member:
    return before.model_copy(update=fields)


@pytest.fixture
def registrar(tmp_path: Path) -> Registrar:
    made = Registrar(tmp_path / "registrar.pem")
    made.create()
    return made


def draft(*members: Member, deployment: str = "north-sea") -> Draft:
    return Draft.of(deployment, members)


class TestWords:
    @pytest.mark.parametrize(
        ("before", "after", "told"),
        [
            ([], [NORTH], "north is new: node, good until 2025-06-16 15:06Z, keys "),
            ([], [changed(NORTH, revoked=True)], "north (node) is new, and revoked"),
            ([NORTH], [], "north (node) is no member any more"),
            ([NORTH], [changed(NORTH, revoked=True, expires=NOW)], "north: is revoked"),
            ([changed(NORTH, revoked=True)], [NORTH], "north comes back: node, good until"),
            ([NORTH], [changed(NORTH, role="admin")], "north: was node, becomes admin"),
            (
                [NORTH],
                [changed(NORTH, expires=NOW + 3 * DAY)],
                "is good until 2025-06-18 15:06Z, was until 2025-06-16 15:06Z",
            ),
            ([NORTH], [changed(NORTH, tags=("eu",))], "has tags eu, had none"),
            ([NORTH], [changed(NORTH, enrolled=NOW + DAY)], "joined anew on 2025-06-16"),
        ],
    )
    def test_each_change_has_its_own(self, before: list[Member], after: list[Member], told: str) -> None:
        (line,) = changes([*before, SOUTH], [SOUTH, *after])
        assert told in line

    def test_new_keys_come_with_their_fingerprint(self) -> None:
        for field in ("signing_key", "agreement_key"):
            other = changed(NORTH, **{field: getattr(member("x"), field)})
            (line,) = changes([NORTH], [other])
            assert f"has new keys {fingerprint(other.signing_key, other.agreement_key)}" in line

    @given(st.data())
    def test_nothing_that_the_registrar_signs_changes_without_a_line(self, data: st.DataObject) -> None:
        def members() -> list[Member]:
            return data.draw(st.lists(_members, unique_by=lambda found: found.name, max_size=3))

        before, after = members(), members()
        lines = list(changes(before, after))
        differing = {found.name for found in set(settled(before)) ^ set(settled(after))}
        assert {line.split(":")[0].split(" ")[0] for line in lines} == differing
        assert len(lines) == len(differing)


_members = st.builds(
    lambda name, role, keys, **fields: Member(
        name=name, role=role, signing_key=keys[0], agreement_key=keys[1], enrolled=NOW, **fields
    ),
    st.sampled_from("abc"),
    st.sampled_from(["node", "admin"]),
    st.sampled_from(KEYS),
    expires=st.sampled_from([NOW, NOW + DAY]),
    revoked=st.booleans(),
    tags=st.sampled_from([(), ("eu",)]),
    seen=st.sampled_from([None, NOW]),
    datasets=st.sampled_from([(), ("scans",)]),
)


class TestKey:
    def test_only_its_public_half_is_for_others(self, registrar: Registrar) -> None:
        assert stat.S_IMODE(registrar.path.stat().st_mode) == 0o600
        assert PublicKey.load(registrar.public_file).public == SigningKey.load(registrar.path).public

    def test_it_is_not_made_over_another(self, registrar: Registrar) -> None:
        before = registrar.path.read_bytes()
        with pytest.raises(IdentityError, match="a key in this file already"):
            registrar.create()
        assert registrar.path.read_bytes() == before

    def test_what_is_no_public_key_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "key.pub").write_text("short")
        with pytest.raises(IdentityError, match="not a public key"):
            PublicKey.load(tmp_path / "key.pub")
        with pytest.raises(IdentityError, match="cannot be read"):
            PublicKey.load(tmp_path / "nothing.pub")


class TestSigning:
    def test_members_take_what_it_signs_for_as_long_as_it_says(self, registrar: Registrar) -> None:
        roster = registrar.sign(draft(SOUTH, NORTH), NOW, 30 * DAY)
        public = PublicKey.load(registrar.public_file).public
        check_roster(roster, public, NOW + 30 * DAY)
        with pytest.raises(IdentityError):
            check_roster(roster, public, NOW + 30 * DAY + 1)
        assert [found.name for found in roster.members] == ["north", "south"]

    def test_it_remembers_what_it_signed(self, registrar: Registrar) -> None:
        assert registrar.last() is None
        first = registrar.sign(draft(NORTH), NOW, DAY)
        assert registrar.last() == first
        second = registrar.sign(draft(NORTH, SOUTH), NOW + 1, DAY)
        assert Registrar(registrar.path).last() == second

    def test_its_memory_cannot_be_replaced_by_anothers_word(self, registrar: Registrar, tmp_path: Path) -> None:
        other = Registrar(tmp_path / "other.pem")
        other.create()
        other.sign(draft(NORTH), NOW, DAY)
        registrar.last_file.write_bytes(other.last_file.read_bytes())
        with pytest.raises(IdentityError, match="not signed by"):
            registrar.sign(draft(NORTH, SOUTH), NOW, DAY)

    def test_one_key_is_for_one_deployment(self, registrar: Registrar) -> None:
        registrar.sign(draft(NORTH), NOW, DAY)
        with pytest.raises(IdentityError, match="signs for north-sea"):
            registrar.sign(draft(NORTH, deployment="baltic"), NOW + 1, DAY)

    @pytest.mark.parametrize("later", [0.0, -60.0])
    def test_a_clock_that_stands_or_goes_back_is_told_of(self, registrar: Registrar, later: float) -> None:
        registrar.sign(draft(NORTH), NOW, DAY)
        with pytest.raises(IdentityError, match="signed later than now"):
            registrar.sign(draft(NORTH), NOW + later, DAY)

    def test_a_draft_with_one_key_for_two_members_is_not_signed(self, registrar: Registrar) -> None:
        double = changed(SOUTH, agreement_key=NORTH.agreement_key)
        with pytest.raises(IdentityError, match="same agreement key"):
            registrar.sign(draft(NORTH, double), NOW, DAY)
        assert registrar.last() is None


class TestFiles:
    def test_drafts_and_rosters_are_read_as_they_were_written(self, registrar: Registrar, tmp_path: Path) -> None:
        wanted = draft(NORTH, changed(SOUTH, seen=NOW, datasets=("scans",)))
        (tmp_path / "draft").write_text(wanted.model_dump_json(indent=1))
        assert read_draft(tmp_path / "draft") == wanted
        assert {(found.seen, found.datasets) for found in wanted.members} == {(None, ())}
        roster = registrar.sign(wanted, NOW, DAY)
        assert read_roster(registrar.last_file) == roster

    def test_what_is_neither_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "draft").write_text('{"deployment": "north-sea"}')
        with pytest.raises(BodyError):
            read_draft(tmp_path / "draft")
        with pytest.raises(IdentityError, match="cannot be read"):
            read_roster(tmp_path / "nothing")
