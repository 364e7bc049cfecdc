"""The command line's consoles take their width when they are made, on import; a server for tests that ask one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.live import Live

os.environ["COLUMNS"] = "200"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of a module's own, and whatever is started beside it."""
    from comity.demo.processes import Processes
    from support.live import serve

    folder = tmp_path_factory.mktemp("live")
    with Processes(folder) as processes:
        yield serve(folder, processes)
