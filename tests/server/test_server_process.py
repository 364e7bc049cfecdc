"""The process of a server: it dates its answers, and goes when it is told to, whatever waits."""

from __future__ import annotations

import signal
import ssl
import time
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from comity.demo.processes import Processes
from comity.identity.folder import IdentityFolder
from support.live import Live, serve, until


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with Processes(tmp_path) as processes:
        live = serve(tmp_path, processes)
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        yield live


def test_answers_have_a_date_that_goes_on(live: Live) -> None:
    authority = ssl.create_default_context(cafile=str(live.folder / "server" / "authority.pem"))
    address = IdentityFolder(live.operator).read().address

    def dated() -> float:
        with urllib.request.urlopen(f"{address}/healthz", timeout=10, context=authority) as answer:
            return parsedate_to_datetime(answer.headers["date"]).timestamp()

    first = dated()
    assert abs(first - time.time()) < 60
    until(lambda: dated() > first)


def test_told_to_stop_it_ends_as_by_the_signal_and_says_so_in_its_log(live: Live) -> None:
    server = live.processes.started["server"]
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == -signal.SIGTERM
    log = (live.folder / "server.log").read_text()
    assert "Application shutdown complete." in log
    assert "Traceback" not in log
