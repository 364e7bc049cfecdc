"""What members send: code, bombs, lies about sizes, and contributions that would poison a model."""

from __future__ import annotations

import ast
import gzip
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity
from comity.core.errors import ManifestError
from comity.server.description import described
from comity.server.vectors import written
from comity.wire.digests import blob_of, sha256
from comity.wire.messages import PART_BYTES, Ask, Blob, Contributed, Rounds, Verdict, Work
from comity.wire.transport import Request
from support.raw import JOB, Raw, played

SOURCES = Path(comity.__file__).parent
LOSS = {"loss": (1.0, 2.0)}


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


async def contributed(raw: Raw, data: bytes, **fields: Any) -> tuple[Verdict, Rounds]:
    """What becomes of a contribution with these bytes as its vectors, and of its round."""
    await raw.submitted()
    session = raw.session("node")
    work = await session.call("POST", "/v1/work", Ask(datasets=("points",), wait=0), Work)
    assert work is not None
    (assignment,) = work.open
    given: dict[str, Any] = {"vectors": await session.upload(data), "weight": 2.0, "metrics": LOSS} | fields
    path = f"/v1/runs/{assignment.run}/leases/{assignment.lease}/contribution"
    verdict = await session.call("POST", path, Contributed(**given), Verdict)
    await raw.served.app.state.deployment.federation.settled()
    rounds = await raw.session("researcher").call("GET", f"/v1/runs/{assignment.run}", expect=Rounds)
    assert verdict is not None
    assert rounds is not None
    return verdict, rounds


class TestDeserialisation:
    """CWE-502. Of the peers, NVFlare (CVE-2022-34668) and FedML (CVE-2026-5536) unpickled what came by the network."""

    def test_a_pickle_is_no_contribution_and_is_not_opened(self, tmp_path: Path) -> None:
        trap = tmp_path / "opened"
        verdict, _ = played(tmp_path, lambda raw: contributed(raw, pickle.dumps(Bomb(trap))))
        assert (verdict.accepted, verdict.reason) == (False, "shape")
        assert not trap.exists()

    @pytest.mark.parametrize("path", ["/v1/runs", "/v1/invitations", "/v1/work", "/v1/parts/missing", "/v1/keys"])
    def test_a_pickle_is_no_body_either(self, path: str, tmp_path: Path) -> None:
        trap = tmp_path / "opened"

        async def scene(raw: Raw) -> int:
            name = "node" if path in ("/v1/work", "/v1/parts/missing") else "admin"
            return (await raw.ask(name, "POST", path, pickle.dumps(Bomb(trap)))).status

        assert played(tmp_path, scene) == 422
        assert not trap.exists()

    def test_nothing_that_reads_from_outside_can_call_what_it_reads(self) -> None:
        """No source of the two ends, or below them, names a loader that runs code. A node's tasks import the source
        that their owner has approved, in `objects.py`, and nowhere else."""
        forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
        for folder in (
            "core",
            "wire",
            "identity",
            "store",
            "coordination",
            "aggregation",
            "server",
            "node",
            "deployment",
        ):
            for file in (SOURCES / folder).rglob("*.py"):
                for node in ast.walk(ast.parse(file.read_text())):
                    names: set[str] = set()
                    if isinstance(node, ast.Import):
                        names = {alias.name.split(".")[0] for alias in node.names}
                    elif isinstance(node, ast.ImportFrom):
                        names = {(node.module or "").split(".")[0]}
                    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                        names = {node.func.id} & {"eval", "exec", "compile", "__import__"}
                        assert not names, f"{file.name} calls {names}"
                    assert not names & forbidden, f"{file.name} imports {names & forbidden}"
                    if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                        assert isinstance(node.value, ast.Constant)
                        assert node.value.value is (node.arg == "weights_only"), file.name


class TestCodeOnArrival:
    """CWE-94 and CWE-470: a manifest names parts of Comity that are data, and nothing else is imported or called."""

    @pytest.mark.parametrize(
        "name",
        [
            "os:system",
            "subprocess:Popen",
            "antigravity:geohash",
            "comity.demo.processes:Processes",
            "comity.cli:main",
            "comity.core.files:replace_file",
            "comity.node.child:subprocess",
            "comity.programs.fedavg:FedAvg.__init__",
            "comity.../antigravity:x",
            "",
        ],
    )
    def test_what_is_no_part_of_a_job_is_not_built(self, name: str) -> None:
        before = set(sys.modules)
        node = json.loads(JOB.to_json())
        node["job"]["program"]["local"] = {"is": name, "lr": 0.1}
        layout = '{"is":"comity.core.layout:Layout","entries":[],"ties":{}}'
        with pytest.raises(ManifestError):
            described(json.dumps(node), layout)
        # A part of Comity may be looked at, and imports what it needs; nothing else is imported by its name.
        assert name.startswith("comity.") or set(sys.modules) == before

    def test_a_servers_half_is_never_a_members_code(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> tuple[int, bytes]:
            body = {
                "run": "cd" * 8,
                "manifest": '{"comity": 1, "job": {"program": {"ref": "Mine", "source": "0"}}}',
                "layout": "{}",
                "start": {"digest": "0" * 64, "size": 0, "parts": []},
                "dataset": "points",
                "source": {"files": {"mine.py": "raise SystemExit"}},
            }
            answer = await raw.ask("researcher", "POST", "/v1/runs", json.dumps(body).encode())
            return answer.status, answer.body

        status, body = played(tmp_path, scene)
        assert status == 422
        assert b"not a part of Comity" in body


class TestSizes:
    """CWE-400, CWE-409, CWE-130, CWE-190: sizes are bounded before anything is read, unpacked, parsed or reserved."""

    @pytest.mark.parametrize("announced", [str(1 << 40), "9" * 5000, "-1", "²", "1e3", "0x10", " "])
    def test_a_length_that_is_too_much_or_none_is_refused_unread(self, announced: str, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> int:
            signed = raw.signed("admin", Request("POST", "/v1/invitations", {}, {}, b"{}"))
            return (await raw.send(signed.having(content_length=announced))).status

        assert played(tmp_path, scene) == 413

    def test_a_body_without_a_length_is_cut_at_the_limit(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> int:
            signed = raw.signed("admin", Request("POST", "/v1/invitations", {}, {}, b" " * (1 << 20)))
            return (await raw.send(signed.having(content_length="0"))).status

        assert played(tmp_path, scene) == 413

    def test_a_part_is_no_larger_than_a_part(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> int:
            body = bytes(PART_BYTES + 1)
            return (await raw.ask("node", "PUT", f"/v1/parts/{sha256(body)}", body)).status

        assert played(tmp_path, scene) == 413

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity"])
    def test_a_packed_body_is_not_unpacked(self, encoding: str, tmp_path: Path) -> None:
        bomb = gzip.compress(bytes(10 << 20))

        async def scene(raw: Raw) -> int:
            signed = raw.signed("admin", Request("POST", "/v1/invitations", {}, {}, bomb))
            return (await raw.send(signed.having(content_encoding=encoding))).status

        assert played(tmp_path, scene) == 413

    @pytest.mark.parametrize("body", [b"[" * 60_000, b'{"name":' * 7_000, b"[" * 30_000 + b"]" * 30_000])
    def test_nesting_without_end_is_refused(self, body: bytes, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> int:
            return (await raw.ask("admin", "POST", "/v1/invitations", body)).status

        assert played(tmp_path, scene) == 422

    @pytest.mark.parametrize("size", [0, 1, 99, 1 << 40])
    def test_a_blob_that_lies_about_its_size_is_no_contribution(self, size: int, tmp_path: Path) -> None:
        data = b"".join(written({"weights": np.ones(3, np.float32)}))
        lie = Blob(digest=sha256(data), size=size, parts=blob_of(data).parts)
        verdict, _ = played(tmp_path, lambda raw: contributed(raw, data, vectors=lie))
        assert (verdict.accepted, verdict.reason) == (False, "shape")

    @pytest.mark.parametrize("shape", [[1 << 31, 1 << 31, 4], [1 << 63], [-1], [3, 0], [True], [3.0], "3"])
    def test_shapes_whose_product_is_not_what_is_there_are_refused(self, shape: Any, tmp_path: Path) -> None:
        header = json.dumps({"weights": {"dtype": "F32", "shape": shape, "data_offsets": [0, 12]}}).encode()
        data = len(header).to_bytes(8, "little") + header + bytes(12)
        verdict, _ = played(tmp_path, lambda raw: contributed(raw, data))
        assert (verdict.accepted, verdict.reason) == (False, "shape")


class TestPoison:
    """CWE-20: a contribution that would spoil the model is refused with a reason, and its round goes on without it."""

    @pytest.mark.parametrize(
        ("vector", "fields", "reason"),
        [
            ([np.nan, 0, 0], {}, "not finite"),
            ([np.inf, 0, 0], {}, "not finite"),
            ([3e38, 3e38, 3e38], {}, "not finite"),
            ([1e6, 0, 0], {}, "norm"),
            ([1, 1], {}, "shape"),
            ([1, 1, 1, 1], {}, "shape"),
            ([[1, 1, 1]], {}, "shape"),
            ([1, 1, 1], {"weight": 0.0}, "weight"),
            ([1, 1, 1], {"weight": -2.0}, "weight"),
            ([1, 1, 1], {"metrics": {}}, "shape"),
        ],
    )
    def test_it_is_refused_with_a_reason(
        self, vector: Any, fields: dict[str, Any], reason: str, tmp_path: Path
    ) -> None:
        data = b"".join(written({"weights": np.array(vector, np.float32)}))
        verdict, rounds = played(tmp_path, lambda raw: contributed(raw, data, **fields))
        assert (verdict.accepted, verdict.reason) == (False, reason)
        assert verdict.detail
        assert rounds.rounds == ()

    def test_whole_numbers_are_no_update(self, tmp_path: Path) -> None:
        data = b"".join(written({"weights": np.ones(3, np.int64)}))
        verdict, _ = played(tmp_path, lambda raw: contributed(raw, data))
        assert (verdict.accepted, verdict.reason) == (False, "dtype")

    def test_a_sound_one_counts(self, tmp_path: Path) -> None:
        data = b"".join(written({"weights": np.ones(3, np.float32)}))
        verdict, rounds = played(tmp_path, lambda raw: contributed(raw, data))
        assert verdict.accepted
        assert len(rounds.rounds) == 1
