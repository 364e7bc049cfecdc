"""Members, invitations and nonces: each invitation counts once, and so does each nonce."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from comity.identity.keys import thumbprint
from comity.store.errors import StoreError
from comity.store.journal import Journal
from comity.store.members import SEEN_EVERY
from comity.wire.messages import Invite, Member
from support.journals import a_key, a_member

SECRET = "5e" * 32


def enrol(
    journal: Journal, name: str = "north", *, secret: str = SECRET, now: float = 50.0, key: str = "k"
) -> Member | None:
    return journal.enrol(secret, now, a_key(key), a_key("agreement"), name, 1000.0)


def test_a_member_is_found_by_name_and_by_key(journal: Journal) -> None:
    north = a_member("north", tags=("eu", "mri"), datasets=("scans",), seen=3.5)
    south = a_member("south", role="admin")
    journal.add_member(south)
    journal.add_member(north)
    assert journal.members() == [north, south]
    assert journal.member("north") == north
    assert journal.member_by_key(thumbprint(south.signing_key)) == south
    assert journal.member("east") is None
    assert journal.member_by_key(a_key("nobody's")) is None


def test_names_and_keys_belong_to_one_member(journal: Journal) -> None:
    journal.add_member(a_member("north"))
    with pytest.raises(StoreError):
        journal.add_member(a_member("north", signing_key=a_key("other")))
    for key in ("signing_key", "agreement_key"):
        with pytest.raises(StoreError):
            journal.add_member(a_member("south", **{key: getattr(a_member("north"), key)}))
    assert journal.members() == [a_member("north")]


def test_names_differ_in_their_case(journal: Journal) -> None:
    journal.add_member(a_member("north"))
    assert journal.member("North") is None


def test_an_invitation_makes_a_member_once(journal: Journal) -> None:
    journal.invite(SECRET, Invite(name="north", role="node", tags=("eu",)), expires=100.0)
    member = enrol(journal)
    assert member is not None
    assert member == Member(
        name="north",
        role="node",
        signing_key=a_key("k"),
        agreement_key=a_key("agreement"),
        enrolled=50.0,
        expires=1050.0,
        tags=("eu",),
    )
    assert journal.members() == [member]
    assert enrol(journal, key="another") is None
    assert journal.members() == [member]
    journal.revoke("north", 60.0)
    assert enrol(journal, now=70.0, key="another") is None, "nor does it bring back a member that was revoked"
    assert journal.member("north") == member.model_copy(update={"revoked": True, "expires": 60.0})


def test_no_member_comes_of_an_unknown_an_expired_or_anothers_invitation(journal: Journal) -> None:
    journal.invite(SECRET, Invite(name="north"), expires=100.0)
    assert enrol(journal, secret="00" * 32) is None
    assert enrol(journal, now=100.0) is None
    assert enrol(journal, "south") is None
    assert journal.members() == []
    assert enrol(journal) is not None, "none of these attempts spends the invitation"


def test_an_active_member_is_not_replaced_by_an_invitation(journal: Journal) -> None:
    journal.add_member(a_member("north", expires=1000.0))
    journal.invite(SECRET, Invite(name="north", role="admin"), expires=5000.0)
    assert enrol(journal) is None
    assert journal.members() == [a_member("north")]


@pytest.mark.parametrize("gone", ["revoked", "expired"])
def test_a_member_that_is_gone_can_be_invited_again(journal: Journal, gone: str) -> None:
    journal.add_member(a_member("north", expires=40.0 if gone == "expired" else 1000.0))
    if gone == "revoked":
        journal.revoke("north", 40.0)
    journal.invite(SECRET, Invite(name="north"), expires=100.0)
    member = enrol(journal)
    assert member is not None
    assert not member.revoked
    assert journal.members() == [member]
    assert journal.member_by_key(thumbprint(a_member("north").signing_key)) is None


def test_nobody_enrols_with_anothers_key(journal: Journal) -> None:
    journal.add_member(a_member("south"))
    journal.invite(SECRET, Invite(name="north"), expires=100.0)
    assert journal.enrol(SECRET, 50.0, a_member("south").signing_key, a_key("a"), "north", 10.0) is None
    assert journal.members() == [a_member("south")]
    assert enrol(journal) is not None


def test_of_many_that_use_one_invitation_at_once_one_enrols(journal: Journal) -> None:
    journal.invite(SECRET, Invite(name="north"), expires=100.0)
    with ThreadPoolExecutor(6) as pool:
        made = [m for m in pool.map(lambda number: enrol(journal, key=f"key {number}"), range(6)) if m is not None]
    assert journal.members() == made
    assert len(made) == 1


def test_revocation_holds_at_once_and_says_since_when(journal: Journal) -> None:
    journal.add_member(a_member("north"))
    assert journal.revoke("north", 40.0)
    assert journal.member("north") == a_member("north", revoked=True, expires=40.0)
    assert journal.revoke("north", 60.0)
    assert journal.member("north") == a_member("north", revoked=True, expires=40.0)
    assert not journal.revoke("south", 40.0)


def test_who_was_looked_up_before_a_change_is_looked_up_anew(journal: Journal) -> None:
    north = a_member("north")
    journal.add_member(north)
    key = north.signing_key

    def found() -> tuple[object, ...]:
        member = journal.member_by_key(thumbprint(key))
        assert member is not None
        return member.tags, member.datasets, member.revoked

    assert found() == ((), (), False)
    journal.change("north", ["wards"])
    assert found() == (("wards",), (), False)
    journal.offer("north", ["stays"])
    assert found() == (("wards",), ("stays",), False)
    journal.revoke("north", 2.0)
    assert found() == (("wards",), ("stays",), True)
    assert journal.member_by_key(thumbprint("A" * 43)) is None


def test_tags_and_data_sets_are_replaced(journal: Journal) -> None:
    journal.add_member(a_member("north", tags=("old",), datasets=("old",)))
    assert journal.change("north", ("eu", "mri"))
    assert journal.offer("north", ("scans",))
    assert journal.member("north") == a_member("north", tags=("eu", "mri"), datasets=("scans",))
    assert not journal.offer("north", ("scans",)), "nothing new"
    assert not journal.change("south", ())
    assert not journal.offer("south", ())


def test_when_a_member_was_seen_is_written_now_and_then(journal: Journal) -> None:
    journal.add_member(a_member("north"))
    journal.saw("north", 100.0)
    assert journal.member("north") == a_member("north", seen=100.0)
    journal.saw("north", 100.0 + SEEN_EVERY / 2)
    assert journal.member("north") == a_member("north", seen=100.0)
    journal.saw("north", 101.0 + SEEN_EVERY)
    assert journal.member("north") == a_member("north", seen=101.0 + SEEN_EVERY)


def test_new_keys_replace_the_old(journal: Journal) -> None:
    north = a_member("north")
    journal.add_member(north)
    journal.add_member(a_member("south"))
    assert not journal.rekey("north", a_member("south").signing_key, a_key("new"), a_key("new agreement"), 2000.0)
    assert journal.rekey("north", north.signing_key, a_key("new"), a_key("new agreement"), 2000.0)
    changed = a_member("north", signing_key=a_key("new"), agreement_key=a_key("new agreement"), expires=2000.0)
    assert journal.member_by_key(thumbprint(a_key("new"))) == changed
    assert journal.member_by_key(thumbprint(north.signing_key)) is None
    south = a_member("south")
    assert not journal.rekey("north", north.signing_key, a_key("z"), a_key("x"), 2000.0), (
        "the old key is no key any more"
    )
    assert not journal.rekey("north", a_key("new"), south.signing_key, a_key("x"), 2000.0), "another's signing key"
    assert not journal.rekey("north", a_key("new"), a_key("z"), south.agreement_key, 2000.0), "another's agreement key"
    assert not journal.rekey("east", a_key("new"), a_key("y"), a_key("x"), 2000.0)
    assert journal.member("north") == changed
    journal.revoke("north", 30.0)
    assert not journal.rekey("north", a_key("new"), a_key("z"), a_key("x"), 3000.0), "the revoked do not come back so"


def test_a_nonce_counts_once_for_each_key(journal: Journal) -> None:
    assert journal.use_nonce("north", "n1", 10.0)
    assert not journal.use_nonce("north", "n1", 10.0)
    assert not journal.use_nonce("north", "n1", 99.0)
    assert journal.use_nonce("south", "n1", 10.0)
    assert journal.use_nonce("north", "n2", 10.0)


def test_only_expired_nonces_are_forgotten(journal: Journal) -> None:
    journal.use_nonce("north", "early", 10.0)
    journal.use_nonce("north", "late", 20.0)
    journal.forget_nonces(15.0)
    assert journal.use_nonce("north", "early", 30.0)
    assert not journal.use_nonce("north", "late", 30.0)


def test_a_nonce_that_many_use_at_once_counts_once(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: journal.use_nonce("north", "n", 10.0), range(32))) == 1


def test_replicas_share_their_nonces(postgresql_url: str) -> None:
    one, two = Journal.open(postgresql_url), Journal.open(postgresql_url)
    assert one.use_nonce("north", "n", 10.0)
    assert not two.use_nonce("north", "n", 10.0)
    one.close()
    two.close()
