"""A folder becomes a node: by an invitation, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comity.core.errors import ConfigError
from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.invitation import Invitation
from comity.identity.joining import authority_of, enrol, kept_keys
from comity.node.home import NodeConfig, NodeHome
from comity.node.policy import starter


async def join(
    token: str, home: NodeHome, now: Callable[[], float], proxy: str = "", packages: Sequence[str] = ()
) -> NodeConfig:
    """Spend an invitation for the node in `home`, and leave there all that its agent needs, and a first policy.

    `packages` are the installed ones, beside Comity, that jobs may name. The policy allows nothing until its owner
    changes it. May be repeated with the same token where it was cut off. Raises `ConfigError` where the folder is a
    node already, and what `enrol` raises.
    """
    invitation = Invitation.of(token)
    if home.config_file.exists():
        raise ConfigError("this folder is a node already", where=str(home.path), mend="choose another: --home DIR")
    if invitation.role != "node":
        raise IdentityError(
            f"the invitation is for a {invitation.role}, who is a person", where="invitation", mend="comity join TOKEN"
        )
    home.create()
    signing, agreement = kept_keys(home.signing_key, home.agreement_key)
    enrolled = await enrol(invitation, signing, agreement, now, proxy or None, home.client_certificate)
    if (authority := authority_of(invitation, enrolled)) is not None:
        replace_file(home.authority, authority.encode("ascii"))
    if not home.policy_file.exists():
        replace_file(home.policy_file, starter(()).encode(), mode=0o600)
    config = NodeConfig(
        name=enrolled.member.name,
        address=invitation.address,
        deployment=enrolled.about.deployment,
        registrar=enrolled.about.registrar,
        proxy=proxy,
        packages=tuple(packages),
    )
    home.write(config)
    return config
