"""A node renews its keys by itself, in good time, and ends what a renewal that was cut off has begun."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from comity.core.errors import ComityError
from comity.identity.keys import fingerprint
from comity.identity.renewal import renew
from comity.node.home import NodeHome
from comity.wire.client import Session
from comity.wire.messages import Member, Standing
from comity.wire.transport import Transport

DUE = 1 / 6
"""Keys are renewed when less than this share of the time is left for which new ones would be good."""

_LOOK, _AGAIN, _DAY = 60.0, 600.0, 86400.0


async def keep_keys(
    home: NodeHome,
    session: Session,
    transport: Transport,
    note: Callable[[str, Mapping[str, Any]], None],
    now: Callable[[], float],
) -> None:
    """Renew the keys whenever they are due, until cancelled; `note` is told of it, and of what keeps it from it, once.

    The server is asked once a day how long they are good.
    """
    asked, said = -_DAY, ""
    while True:
        pause = _LOOK
        try:
            if home.keys.pending or (now() - asked >= _DAY and await _due(session, now())):
                member = await renew_node(home, transport, now)
                note("renewed", {"text": f"keys {fingerprint(member.signing_key, member.agreement_key)}"})
            if now() - asked >= _DAY:
                asked = now()
        except Exception as error:
            # Whatever it is, it must not end the agent beside: there is time to try again.
            pause, text = _AGAIN, f"the keys could not be renewed: {error}"
            if text != said:
                said = text
                with contextlib.suppress(ComityError):
                    note("fault", {"text": text})
        await asyncio.sleep(pause)


async def renew_node(home: NodeHome, transport: Transport, now: Callable[[], float]) -> Member:
    """New keys for the node in `home`. Raises what `renew` raises."""
    config = home.config
    return await renew(home.keys, transport, name=config.name, deployment=config.deployment, now=now)


async def _due(session: Session, now: float) -> bool:
    standing = await session.call("GET", "/v1/keys", expect=Standing)
    assert standing is not None
    return standing.member.expires - now < DUE * standing.lifetime
