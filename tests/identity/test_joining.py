"""Joining: what is kept is what the invitation names and what was pinned at the first contact.

Joining over real TLS, answers that are lost and invitations that were used are in tests/node/test_join.py and
tests/cli/test_server.py.
"""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from comity.identity import joining
from comity.identity.errors import IdentityError
from comity.identity.folder import IdentityFolder, Membership
from comity.identity.invitation import Invitation
from comity.identity.joining import join_as_person
from comity.identity.keys import SigningKey
from comity.wire.bodies import parse
from comity.wire.messages import About, Enrolled, Enrolment, Member
from comity.wire.transport import Request, Response

NOW = 1_750_000_000.0
REGISTRAR = SigningKey.new().public
PINNED = About(deployment="north-sea", version="1", time=NOW, authority="(pinned)", registrar=REGISTRAR)
INVITATION = Invitation("https://server.example.org:8443", "ab" * 32, "5e" * 32, "analyst", "researcher", NOW + 60)


class Server:
    """Lets in whoever asks, as a member with these `fields`, and says `about` of itself from then on."""

    def __init__(self, about: About = PINNED, **fields: Any) -> None:
        self.about = about
        self.fields = fields
        self.asked: list[str] = []
        self.authorities: list[str | None] = []

    def transport(self, address: str, authority: str | None, proxy: str | None, certificate: Path | None) -> Server:
        self.authorities.append(authority)
        return self

    async def first_contact(self, address: str, fingerprint: str, proxy: str | None, certificate: Path | None) -> About:
        return PINNED

    async def send(self, request: Request, *, timeout: float) -> Response:
        self.asked.append(request.path)
        wish = parse(Enrolment, request.body, 1 << 16)
        keys = {"signing_key": wish.signing_key, "agreement_key": wish.agreement_key}
        facts = {"name": wish.name, "role": "researcher", "enrolled": NOW, "expires": NOW + 1} | keys
        enrolled = Enrolled(member=Member(**facts | self.fields), about=self.about)
        return Response(201, {}, enrolled.model_dump_json().encode())

    async def close(self) -> None:
        self.asked.append("closed")


def join(
    server: Server, folder: IdentityFolder, monkeypatch: pytest.MonkeyPatch, invitation: Invitation = INVITATION
) -> Membership:
    monkeypatch.setattr(joining, "HttpTransport", server.transport)
    monkeypatch.setattr(joining, "fetch_about", server.first_contact)
    return asyncio.run(join_as_person(invitation.token, folder, lambda: NOW))


def test_a_person_has_keys_that_nobody_else_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, server = IdentityFolder(tmp_path / "analyst"), Server()
    membership = join(server, folder, monkeypatch)
    assert membership == folder.read()
    assert (membership.name, membership.role, membership.deployment) == ("analyst", "researcher", "north-sea")
    assert server.asked == ["/v1/enrolments", "closed"]
    for name in ("signing.pem", "agreement.pem", "member.json"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_what_the_server_says_after_the_first_contact_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = PINNED.model_copy(
        update={"authority": "(another)", "registrar": SigningKey.new().public, "deployment": "baltic"}
    )
    folder, server = IdentityFolder(tmp_path), Server(changed)
    membership = join(server, folder, monkeypatch)
    assert (folder.authority, membership.registrar, membership.deployment) == ("(pinned)", REGISTRAR, "north-sea")
    assert server.authorities == ["(pinned)"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "stranger"},
        {"role": "admin"},
        {"signing_key": SigningKey.new().public},
        {"agreement_key": SigningKey.new().public},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_server_that_lets_in_somebody_else_is_refused(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = IdentityFolder(tmp_path)
    with pytest.raises(IdentityError, match="somebody else"):
        join(Server(**fields), folder, monkeypatch)
    assert not folder.exists


def test_a_nodes_invitation_is_not_spent_on_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation = Invitation(INVITATION.address, "ab" * 32, "5e" * 32, "clinic", "node", NOW + 60)
    server = Server()
    with pytest.raises(IdentityError, match="for a node") as caught:
        join(server, IdentityFolder(tmp_path), monkeypatch, invitation)
    assert "comity node join" in caught.value.mend
    assert server.asked == []
