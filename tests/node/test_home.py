"""The folder of a node: closed to others, and settings that name what is wrong with them."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ConfigError
from comity.node.home import NodeConfig, NodeHome

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"))).filter(str.isprintable)
CONFIG = NodeConfig(name="clinic", address="https://server.test:8443", deployment="d", registrar="r")


@given(
    st.builds(
        NodeConfig,
        name=PRINTABLE,
        address=PRINTABLE,
        deployment=PRINTABLE,
        registrar=PRINTABLE,
        proxy=PRINTABLE,
        tasks=st.integers(1, 100),
        keep_days=st.floats(0.1, 1e6),
        packages=st.lists(PRINTABLE).map(tuple),
        isolation=st.sampled_from(["required", "optional"]),
    )
)
def test_settings_are_read_as_they_were_written(config: NodeConfig) -> None:
    assert NodeConfig.of(config.to_toml(), "node.toml") == config


def test_a_setting_that_does_not_exist_is_named_with_the_one_that_may_be_meant() -> None:
    with pytest.raises(ConfigError, match="unknown key 'task'") as raised:
        NodeConfig.of(CONFIG.to_toml() + "task = 3\n", "node.toml")
    assert raised.value.mend == "did you mean 'tasks'?"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("tasks = 2", "a whole number of 1 or more"),
        ("keep_days = 30.0", "a number above 0"),
        ("cache_mb = 4096", "a whole number of 1 or more"),
        ('name = "clinic"', "a line of text"),
        ("packages = []", "a list"),
        ('isolation = "required"', '"required" or "optional"'),
    ],
)
def test_a_value_that_does_not_fit_is_named(line: str, told: str) -> None:
    text = CONFIG.to_toml()
    assert line in text
    name = line.split(" ")[0]
    with pytest.raises(ConfigError, match="^node.toml, key " + name) as raised:
        NodeConfig.of(text.replace(line, f"{name} = 0"), "node.toml")
    assert told in raised.value.mend


def test_a_job_that_brings_code_needs_isolation_unless_the_owner_says_otherwise() -> None:
    text = CONFIG.to_toml().replace('isolation = "required"\n', "")
    assert NodeConfig.of(text, "node.toml").isolation == "required"
    with pytest.raises(ConfigError, match="key isolation: 'none' is not") as raised:
        NodeConfig.of(text + 'isolation = "none"\n', "node.toml")
    assert raised.value.mend == 'give "required" or "optional"'


def test_a_missing_setting_and_a_file_that_is_none_are_named() -> None:
    with pytest.raises(ConfigError, match="registrar is missing"):
        NodeConfig.of(CONFIG.to_toml().replace('registrar = "r"\n', ""), "node.toml")
    with pytest.raises(ConfigError, match="this is no TOML"):
        NodeConfig.of("name = ", "node.toml")


def test_a_folder_without_settings_has_not_joined(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has not joined") as raised:
        _ = NodeHome(tmp_path).config
    assert "comity node join" in raised.value.mend


def test_of_runs_that_are_long_over_nothing_is_left(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    home.create()
    for folder in (home.runs, home.memory):
        for run in ("old", "new"):
            (folder / run).mkdir()
            (folder / run / "file").write_text("kept")
        os.utime(folder / "old", (1000, 1000))
    home.sweep(2000)
    assert [run.name for run in (*home.runs.iterdir(), *home.memory.iterdir())] == ["new", "new"]


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "home")
    home.create()
    home.write(replace(CONFIG, name="hidden"))
    assert home.config.name == "hidden"
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.signing_key.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.config_file.stat().st_mode) == 0o600
