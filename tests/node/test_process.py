"""The process of a node: one at a time, in a folder that has joined."""

import fcntl
from pathlib import Path

import pytest

from comity.core.errors import ConfigError
from comity.node.home import NodeHome
from comity.node.process import serve
from support.nodes import a_home


def test_two_agents_do_not_work_in_one_folder(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    with home.lock_file.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another agent of party-0 works in this folder"):
            serve(home)


def test_a_folder_that_has_not_joined_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has not joined"):
        serve(NodeHome(tmp_path))
    assert not list(tmp_path.iterdir())
