"""Coverage-guided fuzzing of one decoder, by atheris (Linux on x86-64):

    PYTHONPATH=tests python -m fuzz.atheris_decoders                                 # the decoders there are
    PYTHONPATH=tests python -m fuzz.atheris_decoders vectors -max_total_time=300     # options are libFuzzer's

The corpus starts from valid bytes that `support.decoders` makes, in a folder of its own. What does not end in a value
or a `ComityError` is a finding: libFuzzer leaves the bytes in `crash-…`, and they belong among the examples of
`test_decoders`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from tempfile import mkdtemp

import atheris  # type: ignore[import-untyped]  # it comes without types

with atheris.instrument_imports(include=["comity", "http_sf"]):
    from comity.core.errors import ComityError
    from support.decoders import decoders


def main(words: list[str]) -> None:
    """Fuzz the decoder that is named, until libFuzzer's options say that it is enough."""
    names = decoders()
    if not words or words[0] not in names:
        sys.exit("\n".join(["decoders:", *names]))
    decoder = names[words[0]]
    corpus = Path(mkdtemp(prefix="comity-corpus-"))
    for number, seed in enumerate(decoder.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        with contextlib.suppress(ComityError):
            decoder.decode(data)

    atheris.Setup([sys.argv[0], *words[1:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
