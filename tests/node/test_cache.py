"""What was received is kept while it can be of use, and no longer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from comity.node.cache import Cache
from comity.wire.client import Session
from comity.wire.digests import blob_of
from comity.wire.messages import Blob

A, B = "a" * 16, "b" * 16


@dataclass
class Server:
    """Sends blobs that it was given."""

    contents: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    def hold(self, content: bytes) -> Blob:
        blob = blob_of(content)
        self.contents[blob.digest] = content
        return blob

    async def download(self, path: str, blob: Blob, into: Path) -> None:
        self.sent.append(blob.digest)
        into.write_bytes(self.contents[blob.digest])


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def cache(server: Server, tmp_path: Path) -> Cache:
    return Cache(tmp_path, cast(Session, server), limit=1000)


def use(cache: Cache, run: str, blobs: Sequence[Blob]) -> None:
    """A round of a run with these blobs."""
    with cache.pinned(run, blobs):
        for blob in blobs:
            assert asyncio.run(cache.fetch(run, blob)).stat().st_size == blob.size


def files(cache: Cache) -> set[str]:
    return {file.name for file in cache.folder.iterdir()}


def test_a_new_model_replaces_that_of_the_round_before(cache: Cache, server: Server) -> None:
    first, second = server.hold(b"first"), server.hold(b"second")
    use(cache, A, [first])
    use(cache, A, [second])
    assert files(cache) == {second.digest}


def test_what_has_not_changed_is_not_fetched_again(cache: Cache, server: Server) -> None:
    same, first, second = server.hold(b"control"), server.hold(b"first"), server.hold(b"second")
    use(cache, A, [same, first])
    use(cache, A, [same, second])
    assert server.sent.count(same.digest) == 1
    assert files(cache) == {same.digest, second.digest}


def test_what_another_run_uses_stays(cache: Cache, server: Server) -> None:
    both, later = server.hold(b"both begin with it"), server.hold(b"later")
    use(cache, A, [both])
    use(cache, B, [both])
    use(cache, A, [later])
    assert files(cache) == {both.digest, later.digest}
    use(cache, B, [later])
    assert files(cache) == {later.digest}


def test_an_older_model_stays_while_it_is_computed_with(cache: Cache, server: Server) -> None:
    older, newer = server.hold(b"older"), server.hold(b"newer")
    with cache.pinned(A, [older]):
        asyncio.run(cache.fetch(A, older))
        use(cache, A, [newer])
        assert files(cache) == {older.digest, newer.digest}
    assert files(cache) == {newer.digest}


def test_runs_take_bounded_space_together_and_the_oldest_goes_first(cache: Cache, server: Server) -> None:
    blobs = [server.hold(bytes([number]) * 400) for number in range(4)]
    for number, blob in enumerate(blobs):
        use(cache, f"{number:016x}", [blob])
    assert files(cache) == {blob.digest for blob in blobs[-2:]}


def test_a_file_of_an_earlier_process_is_looked_through(cache: Cache, server: Server) -> None:
    blob = server.hold(b"whole")
    (cache.folder / blob.digest).write_bytes(b"wh\0\0\0")
    with cache.pinned(A, [blob]):
        assert asyncio.run(cache.fetch(A, blob)).read_bytes() == b"whole"
