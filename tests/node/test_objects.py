"""What a job may refer to: its own approved source, and installed packages that the owner has named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import comity as ct
from comity.core.errors import ManifestError
from comity.jobs.job import Job
from comity.node.bundle import unpack
from comity.node.objects import read_job
from support.nodes import PLAIN, job_of

TEXT = PLAIN.replace("EXTRA", "pass")


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """A process for tasks ends with its run; this one goes on, without the modules of the bundles."""
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - set(modules):
        if not name.startswith(("comity.", "torch", "sklearn")):
            del sys.modules[name]
    sys.modules |= modules
    sys.path[:] = path


def linear() -> Job:
    model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 4, "out_features": 2})
    return ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.1)), ct.Rounds(count=1))


def test_an_installed_class_needs_its_package_named() -> None:
    text = linear().to_json()
    with pytest.raises(ManifestError, match=r"torch.nn.modules.linear:Linear is outside the packages") as raised:
        read_job(text, None, [])
    assert "`packages` in node.toml" in raised.value.mend
    assert read_job(text, None, ["torch.nn"]).id == linear().id


@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "torchish.nn:Linear", "subprocess:run", "sys:exit"])
def test_nothing_else_is_imported_because_a_manifest_names_it(name: str) -> None:
    text = linear().to_json().replace("torch.nn.modules.linear:Linear", name)
    with pytest.raises(ManifestError, match="is outside the packages"):
        read_job(text, None, ["torch"])


def test_an_installed_name_that_does_not_exist_here_is_told() -> None:
    text = linear().to_json().replace("linear:Linear", "linear:Curved")
    with pytest.raises(ManifestError, match="linear:Curved is not installed here"):
        read_job(text, None, ["torch"])


def test_classes_and_functions_are_found_in_the_files_of_the_source(tmp_path: Path) -> None:
    job = job_of(TEXT, tmp_path / "submitter")
    unpack({"parts/__init__.py": "", "parts/deep.py": TEXT}, tmp_path / "source")
    assert read_job(job.to_json(), tmp_path / "source", []).id == job.id


def test_files_of_the_source_may_import_each_other(tmp_path: Path) -> None:
    start, rest = TEXT.split("def predict", 1)
    job = job_of(TEXT, tmp_path / "submitter")
    files = {"beginnings.py": start, "job2.py": f"from beginnings import *\n\n\ndef predict{rest}"}
    unpack(files, tmp_path / "source")
    assert read_job(job.to_json(), tmp_path / "source", []).id == job.id


def test_what_fails_after_the_definitions_does_no_harm(tmp_path: Path) -> None:
    job = job_of(TEXT, tmp_path / "submitter")
    unpack({"job3.py": f"{TEXT}\nraise SystemExit('no data here')\n"}, tmp_path / "source")
    assert read_job(job.to_json(), tmp_path / "source", []).id == job.id


def test_what_fails_before_the_definitions_is_told(tmp_path: Path) -> None:
    job = job_of(TEXT, tmp_path / "submitter")
    unpack({"job4.py": f"import nothing_of_this_name\n{TEXT}"}, tmp_path / "source")
    with pytest.raises(ManifestError, match=r"job4.py: ModuleNotFoundError: No module named") as raised:
        read_job(job.to_json(), tmp_path / "source", [])
    assert "at the top level of a file that is submitted" in raised.value.mend


def test_another_version_of_the_source_is_not_taken(tmp_path: Path) -> None:
    job = job_of(TEXT, tmp_path / "submitter")
    unpack({"job5.py": TEXT.replace("/ len(x)", "* len(x)")}, tmp_path / "source")
    with pytest.raises(ManifestError, match="the source of fit differs"):
        read_job(job.to_json(), tmp_path / "source", [])


def test_a_file_named_like_an_installed_module_does_not_replace_one_that_is_loaded(tmp_path: Path) -> None:
    import json

    job = job_of(TEXT, tmp_path / "submitter")
    unpack({"json.py": TEXT}, tmp_path / "source")
    assert read_job(job.to_json(), tmp_path / "source", []).id == job.id
    assert sys.modules["json"] is json
