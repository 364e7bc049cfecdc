"""Processes for tasks: what they cannot reach, and what becomes of those that overstep."""

import asyncio
import os
import shlex
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import SGDClassifier

import comity as ct
from comity.demo import setting as demo
from comity.node.bundle import unpack
from comity.node.child import ChildExecutor, Limits, TaskResult, TaskSpec, described
from comity.node.confinement import can_isolate
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.home import NodeHome
from comity.node.seal_key import SealKey
from support.nodes import PLAIN, RUN, a_home, job_of, write_vectors

isolated = pytest.mark.skipif(not can_isolate(), reason="this system allows no namespaces to ordinary users")


def a_task(tmp_path: Path, extra: str, lease: int = 0, **limits: Any) -> tuple[NodeHome, TaskSpec]:
    """A node and a task in which `fit` first runs the statement `extra`."""
    source = PLAIN.replace("EXTRA", extra)
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    (home.runs / RUN).mkdir(exist_ok=True)
    (home.runs / RUN / "manifest.json").write_text(job.to_json())
    unpack({"job.py": source}, home.runs / RUN / "source")
    into = home.scratch / RUN / str(lease)
    into.mkdir(parents=True)
    sent = job.program.broadcast(job.program.init(job.root_seed))
    return home, TaskSpec(
        run=RUN,
        lease=lease,
        round=0,
        party="party-0",
        manifest=home.runs / RUN / "manifest.json",
        source=home.runs / RUN / "source",
        data=described(DataRegistry(home.path).entry("digits"), None),
        broadcast=write_vectors(sent, home.cache),
        memory=None,
        counted=False,
        into=into,
        limits=Limits(**limits),
    )


def run(home: NodeHome, task: TaskSpec) -> TaskResult:
    async def once() -> TaskResult:
        executor = ChildExecutor(home, lambda kind, facts: None)
        try:
            return await executor.run(task)
        finally:
            await executor.close()

    return asyncio.run(once())


def fault(tmp_path: Path, extra: str, **limits: Any) -> str:
    result = run(*a_task(tmp_path, extra, **limits))
    assert result.refusal is not None
    return result.refusal.detail


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1]
    except FileNotFoundError:
        return False
    return not status.startswith(("Z", "X"))


@isolated
def test_the_code_of_a_job_sees_no_keys(tmp_path: Path) -> None:
    key = tmp_path / "party-0" / "identity" / "signing.pem"
    home, task = a_task(tmp_path, f"raise ValueError(open({str(key)!r}).read())")
    key.write_text("secret")
    result = run(home, task)
    assert result.refusal is not None
    assert "FileNotFoundError" in result.refusal.detail


@isolated
def test_the_code_of_a_job_sees_no_key_of_sealed_data(tmp_path: Path) -> None:
    """Also not where it is another data set's, and lies where the node's account can read it."""
    key = tmp_path / "seal.key"
    home, task = a_task(tmp_path, f"raise ValueError('key: [' + open({str(key)!r}).read() + ']')")
    SealKey.new().save(key, apart_from=home.path)
    registry = DataRegistry(home.path)
    shutil.copy(home.path / "digits.npz", home.path / "others.npz")
    registry.add(Entry("others", home.path / "others.npz"))
    registry.seal("others", f"file:{key}")
    result = run(home, task)
    assert result.refusal is not None
    assert "key: []" in result.refusal.detail


def test_a_task_reads_sealed_data_without_its_owners_key(tmp_path: Path) -> None:
    """It gets the key of the file that it is to read."""
    home, task = a_task(tmp_path, "pass")
    plain = run(home, task).weight
    key = SealKey.new()
    key.save(tmp_path / "seal.key", apart_from=home.path)
    registry = DataRegistry(home.path)
    data = described(registry.seal("digits", f"file:{tmp_path / 'seal.key'}"), registry.key("digits"))
    assert key.secret.hex() not in str(data)
    assert not (home.path / "digits.npz").exists()
    assert run(home, replace(task, data=data)).weight == plain == 48.0


def without_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes for tasks find that the system allows them no namespaces, as some do."""
    code = "from comity.node import confinement, task; confinement._unshare = lambda: open('/nowhere'); task.main()"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(code)} "$4"\n')
    python.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(python))


def test_without_namespaces_no_code_of_others_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could read the node's keys, unless its owner accepts that."""
    home, task = a_task(tmp_path, "open('ran', 'w').close()")
    without_namespaces(tmp_path, monkeypatch)
    ran = home.scratch / RUN / "ran"
    home.write(replace(home.config, isolation="required"))
    refused = run(NodeHome(home.path), task)
    assert refused.refusal is not None
    assert refused.refusal.reason == "policy"
    assert 'isolation = "optional" in node.toml' in refused.refusal.detail
    assert not ran.exists()
    home.write(replace(home.config, isolation="optional"))
    assert run(NodeHome(home.path), task).refusal is None
    assert ran.exists()


def without_source(home: NodeHome, task: TaskSpec, job: ct.Job, packages: tuple[str, ...] = ()) -> TaskSpec:
    task.manifest.write_text(job.to_json())
    sent = write_vectors(job.program.broadcast(job.program.init(job.root_seed)), home.cache)
    return replace(task, source=None, packages=packages, broadcast=sent)


def test_without_namespaces_a_job_of_comitys_own_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, task = a_task(tmp_path, "pass")
    home.write(replace(home.config, isolation="required"))
    job = ct.Job(ct.FedAvg(demo.model(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=1))
    task = without_source(home, task, job)
    without_namespaces(tmp_path, monkeypatch)
    result = run(home, task)
    assert result.refusal is None
    assert result.vectors is not None


def test_without_namespaces_a_job_that_may_call_packages_needs_the_owners_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, task = a_task(tmp_path, "pass")
    estimator = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=64, classes=10)
    job = ct.Job(ct.FedAvg(estimator, ct.LocalSGD(lr=0.01, batch_size=1)), ct.Rounds(count=1))
    task = without_source(home, task, job, ("sklearn",))
    without_namespaces(tmp_path, monkeypatch)
    home.write(replace(home.config, isolation="required"))
    refused = run(NodeHome(home.path), task).refusal
    assert refused is not None
    assert refused.reason == "policy"
    home.write(replace(home.config, isolation="optional"))
    assert run(NodeHome(home.path), task).refusal is None


@isolated
def test_the_code_of_a_job_cannot_change_what_was_received(tmp_path: Path) -> None:
    cache = tmp_path / "party-0" / "cache" / "new"
    assert "Read-only file system" in fault(tmp_path, f"open({str(cache)!r}, 'w')")


@isolated
def test_the_code_of_a_job_has_no_network(tmp_path: Path) -> None:
    told = fault(tmp_path, "import socket; socket.create_connection(('127.0.0.1', 9), 5)")
    assert "Network is unreachable" in told


@isolated
def test_the_code_of_a_job_sees_no_process_of_the_node(tmp_path: Path) -> None:
    told = fault(tmp_path, f"import os; os.kill({os.getpid()}, 0)")
    assert "ProcessLookupError" in told
    told = fault(tmp_path / "again", f"open('/proc/{os.getpid()}/environ').read()")
    assert "PermissionError" in told


def test_the_environment_of_the_node_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    told = fault(tmp_path, "import os; raise ValueError(sorted(os.environ))")
    assert "TMPDIR" in told
    assert "TOKEN" not in told


def test_no_more_memory_than_its_limit(tmp_path: Path) -> None:
    told = fault(tmp_path, "bytearray(2 << 30)", memory_mb=1024)
    assert "MemoryError" in told
    assert "raise `memory_mb` in policy.toml" in told


def test_no_file_larger_than_its_limit(tmp_path: Path) -> None:
    assert "File too large" in fault(tmp_path, "open('large', 'wb').write(bytes(2 << 20))", file_mb=1)


def test_no_longer_than_its_limit(tmp_path: Path) -> None:
    told = fault(tmp_path, "import time; time.sleep(3600)", seconds=4)
    assert "longer than 4 seconds" in told
    assert "raise `seconds` in policy.toml" in told


def test_a_process_that_dies_is_a_fault_and_the_next_task_gets_another(tmp_path: Path) -> None:
    home, task = a_task(tmp_path, "import os; os.path.exists('died') or (open('died', 'w').close(), os._exit(3))")

    async def twice() -> list[TaskResult]:
        executor = ChildExecutor(home, lambda kind, facts: None)
        try:
            return [await executor.run(task), await executor.run(task)]
        finally:
            await executor.close()

    first, second = asyncio.run(twice())
    assert first.refusal is not None
    assert "exit status 3" in first.refusal.detail
    assert second.refusal is None


def test_a_crash_is_told_by_its_signal(tmp_path: Path) -> None:
    assert "SIGSEGV" in fault(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")


def test_links_lead_nothing_out(tmp_path: Path) -> None:
    key = tmp_path / "party-0" / "identity" / "signing.pem"
    forge = f"lambda vectors, path: os.symlink({str(key)!r}, path)"
    home, task = a_task(tmp_path, f"import os; import comity.node.exchange; comity.node.exchange.save_file = {forge}")
    key.write_text("secret")
    result = run(home, task)
    assert (task.into / "vectors.safetensors").is_symlink()
    assert result.vectors is None
    assert result.refusal is not None
    assert "no answer that can be read" in result.refusal.detail


@isolated
def test_cancelling_ends_the_process_and_all_that_it_started(tmp_path: Path) -> None:
    extra = "import os, time; pid = os.fork(); os.setsid() if pid == 0 else None; time.sleep(3600)"
    home, task = a_task(tmp_path, extra)

    async def cancel() -> set[int]:
        executor = ChildExecutor(home, lambda kind, facts: None)
        before = descendants()
        running = asyncio.create_task(executor.run(task))
        while len(descendants() - before) < 4:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        started = descendants() - before
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await executor.close()
        return started

    started = asyncio.run(cancel())
    ending = time.monotonic() + 10
    while any(map(alive, started)) and time.monotonic() < ending:
        time.sleep(0.05)
    assert not [pid for pid in started if alive(pid)]


def descendants() -> set[int]:
    """All processes below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.read_text().split(" ", 1)
        except OSError:
            continue
        parents[int(pid)] = int(rest.rsplit(") ", 1)[1].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def test_a_process_without_work_ends(tmp_path: Path) -> None:
    home, task = a_task(tmp_path, "pass")

    async def idle() -> None:
        before = descendants()
        executor = ChildExecutor(home, lambda kind, facts: None, idle=0.2)
        assert (await executor.run(task)).refusal is None
        assert descendants() - before
        async with asyncio.timeout(20):
            while any(map(alive, descendants() - before)):
                await asyncio.sleep(0.05)
        await executor.close()

    asyncio.run(idle())


def test_each_run_has_a_process_of_its_own(tmp_path: Path) -> None:
    home, task = a_task(tmp_path, "import os; raise ValueError(os.getcwd())")
    other = replace(task, run="00000000000000bb", into=home.scratch / "00000000000000bb" / "0", source=None)
    other.into.mkdir(parents=True)
    other = replace(other, manifest=home.runs / other.run / "manifest.json")
    other.manifest.parent.mkdir()
    other.manifest.write_text("{}")

    async def both() -> list[TaskResult]:
        executor = ChildExecutor(home, lambda kind, facts: None)
        try:
            return await asyncio.gather(executor.run(task), executor.run(other))
        finally:
            await executor.close()

    first, second = asyncio.run(both())
    assert first.refusal is not None
    assert str(home.scratch / RUN) in first.refusal.detail
    assert second.refusal is not None
    assert "this is no manifest" in second.refusal.detail


@pytest.mark.parametrize(
    "line",
    [
        "[1, 2]",
        "[" * 100_000 + "]" * 100_000,
        '{"ok": true, "memory": null, "metrics": {}, "seconds": 1, "weight": 1' + "0" * 400 + "}",
        '{"ok": false, "reason": "accepted"}',
    ],
    ids=["no object", "nested without end", "a number too large", "an unknown reason"],
)
def test_an_answer_that_is_none_is_a_fault(tmp_path: Path, line: str) -> None:
    (tmp_path / "line").write_text(line + "\n")
    extra = f"""import contextlib, os
    open('0/vectors.safetensors', 'w').close()
    line = open({str(tmp_path / "line")!r}, 'rb').read()
    for number in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(number, line)"""
    assert "no answer that can be read" in fault(tmp_path, extra)


def test_a_process_that_cannot_start_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, task = a_task(tmp_path, "pass")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        run(home, task)
