"""What a party remembers: what counted, and nothing that did not."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from comity.node.memory import PartyMemory
from support.nodes import RUN


def written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "draft").write_text(text)
    return folder / "draft"


def test_nothing_is_remembered_before_something_counts(tmp_path: Path) -> None:
    memory = PartyMemory(tmp_path / "memory")
    memory.keep(RUN, 3, written(tmp_path, "three"))
    assert memory.of(RUN, None) is None


def test_the_memory_is_that_of_the_last_lease_that_counts(tmp_path: Path) -> None:
    memory = PartyMemory(tmp_path / "memory")
    memory.keep(RUN, 3, written(tmp_path, "three"))
    memory.keep(RUN, 5, written(tmp_path, "five, which is refused"))
    found = memory.of(RUN, 3)
    assert found is not None
    assert found.read_text() == "three"


def test_a_lease_that_wrote_nothing_is_remembered_as_nothing(tmp_path: Path) -> None:
    assert PartyMemory(tmp_path).of(RUN, 4) is None


def test_computing_again_writes_again(tmp_path: Path) -> None:
    memory = PartyMemory(tmp_path / "memory")
    for text in ("before the crash", "after it"):
        memory.keep(RUN, 3, written(tmp_path, text))
    found = memory.of(RUN, 3)
    assert found is not None
    assert found.read_text() == "after it"


@settings(deadline=None, max_examples=20)
@given(st.sets(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 9))
def test_only_what_is_older_than_what_counts_is_forgotten(leases: set[int], counted: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = PartyMemory(folder / "memory")
        for lease in leases:
            memory.keep(RUN, lease, written(folder, str(lease)))
        memory.forget_before(RUN, None)
        memory.forget_before(RUN, counted)
        kept = {lease for lease in leases if memory.of(RUN, lease) is not None}
        assert kept == {lease for lease in leases if lease >= counted}
