"""Members at what belongs to other members."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comity.wire.digests import blob_of, sha256
from comity.wire.messages import Contributed, PartList, Refused
from support.raw import Raw, played

PART = b"what the node has sent"
REFUSED = Refused(reason="error", detail="").model_dump_json().encode()


class TestOtherTenants:
    """CWE-639: an id opens nothing. What is not yours answers like what is not there."""

    @pytest.mark.parametrize(
        ("name", "method", "path"),
        [
            ("other-researcher", "GET", "/v1/runs/RUN"),
            ("other-researcher", "GET", "/v1/runs/RUN/job"),
            ("other-researcher", "GET", "/v1/runs/RUN/source"),
            ("other-researcher", "GET", "/v1/runs/RUN/blobs/DIGEST"),
            ("other-researcher", "POST", "/v1/runs/RUN/stop"),
            ("other-node", "GET", "/v1/runs/RUN/job"),
            ("other-node", "GET", "/v1/runs/RUN/blobs/DIGEST"),
            ("other-node", "POST", "/v1/runs/RUN/leases/0/contribution"),
            ("other-node", "POST", "/v1/runs/RUN/leases/0/refusal"),
        ],
    )
    def test_another_members_run_answers_as_one_that_is_not_there(
        self, name: str, method: str, path: str, tmp_path: Path
    ) -> None:
        bodies = {"contribution": Contributed(vectors=blob_of(PART), weight=1.0).model_dump_json().encode()}
        body = bodies.get(path.rpartition("/")[2], REFUSED if path.endswith("refusal") else b"")

        async def scene(raw: Raw) -> list[tuple[int, bytes]]:
            run = (await raw.submitted()).id
            live = raw.served.app.state.deployment.federation.run(run)
            digest = live.model.broadcast["weights"].digest
            query = {"part": "0"} if "DIGEST" in path else {}
            found = []
            for one in (run, "0" * 16):
                target = path.replace("RUN", one).replace("DIGEST", digest)
                answer = await raw.ask(name, method, target, body, **query)
                found.append((answer.status, answer.body.replace(one.encode(), b"RUN")))
            assert raw.served.app.state.deployment.federation.run(run).state == "running"
            return found

        there, absent = played(tmp_path, scene)
        assert there[0] == 404
        assert there == absent

    def test_nobody_learns_what_parts_others_have_sent_or_uses_them(self, tmp_path: Path) -> None:
        digest = sha256(PART)

        async def scene(raw: Raw) -> tuple[list[str], int]:
            assert (await raw.ask("node", "PUT", f"/v1/parts/{digest}", PART)).status == 204
            asked = PartList(digests=(digest,)).model_dump_json().encode()
            missing = json.loads((await raw.ask("other-node", "POST", "/v1/parts/missing", asked)).body)["digests"]
            run = (await raw.submitted()).id
            blob = await raw.ask("node", "GET", f"/v1/runs/{run}/blobs/{digest}", part="0")
            return missing, blob.status

        assert played(tmp_path, scene) == ([digest], 404)

    def test_another_members_name_cannot_be_taken_with_the_id_of_its_run(self, tmp_path: Path) -> None:
        """A run's id is drawn by its submitter: the same id from somebody else changes nothing and tells nothing."""

        async def scene(raw: Raw) -> int:
            facts = await raw.submitted()
            live = raw.served.app.state.deployment.federation.run(facts.id)
            body = {
                "run": facts.id,
                "manifest": live.row.manifest,
                "layout": live.row.layout,
                "start": live.model.state.model_dump(mode="json"),
                "dataset": "points",
            }
            return (await raw.ask("other-researcher", "POST", "/v1/runs", json.dumps(body).encode())).status

        assert played(tmp_path, scene) == 409
