"""Whatever bytes come in, a decoder gives a value or an error of Comity's, soon, and in little memory.

Bytes are arbitrary ones, and valid ones that were cut, extended, spliced, or changed in places; lengths that lie and
nesting without end have examples of their own. What coverage-guided fuzzing (`atheris_decoders`) has found is among
them.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.core.errors import ComityError
from support.decoders import JOB, Decoder, decoders

ON_DISK = ("backup journal", "backup facts", "bundle", "node log", "server settings", "data sets")
SECONDS = 5.0
BYTES = 64 << 20


def decoded(decoder: Decoder, data: bytes) -> None:
    """Decode; anything but a `ComityError` is a fault."""
    began = time.monotonic()
    with contextlib.suppress(ComityError):
        decoder.decode(data)
    assert time.monotonic() - began < SECONDS


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Valid bytes after a few accidents."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("flip", "cut", "extend", "splice", "number", "token"))):
            case "flip" if place < len(data):
                data = data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
            case "cut":
                data = data[: min(place, draw(st.integers(0, len(data))))] + data[place:]
            case "extend":
                data += draw(st.binary(max_size=40))
            case "splice":
                other = draw(st.sampled_from(seeds))
                data = data[:place] + other[draw(st.integers(0, len(other))) :]
            case "number":
                size = draw(st.sampled_from((1, 4, 8)))
                data = data[:place] + draw(st.binary(min_size=size, max_size=size)) + data[place + size :]
            case _:
                data = data[:place] + draw(st.sampled_from(TOKENS)) + data[place:]
    return data


TOKENS = (
    *(b"NaN", b"1e999", b"-1", b"null", b"{}", b"[]", b'""', b"true"),
    *(b'"\\ud800"', b"\xff", b"\0", b"9" * 25, b"\xc3\xa9"),
)

EXAMPLES = (
    b"",
    b"\0" * 64,
    b"\xff" * 64,
    b"[" * 100_000,
    b"{" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 900 + b"]" * 900,
    b"a = " + b"[" * 5000 + b"]" * 5000,
    b"a = " + b"{a = " * 2000 + b"1" + b"}" * 2000,
    b"a" + b".a" * 5000 + b" = 1",
    b"a = " + b"9" * 5000,
    b"9" * 5000,
    b'{"job":{"program":{"is":"' + b"x" * 70_000 + b'"}}}',
    b'{"job":{"program":{"is":"comity.programs.fedavg:FedAvg","model":"\\ud800"}}}',
    JOB.to_json().replace("Quadratic", "\\ud800").encode(),
    b'"\\ud800"',
    b'{"is":"comity.core.layout:Layout","entries":[{"name":"w"}],"ties":{}}',
    b'{"is":"comity.core.layout:Layout","entries":5,"ties":{}}',
    b'{"is":"comity.core.layout:Layout","entries":[],"ties":[1]}',
    b'{"files":{"a.py":"\\ud800"}}',
    b'{"files":{"' + b"a/" * 99 + b'a":""}}',
    (1 << 63).to_bytes(8, "little") + b"{}",
    (2).to_bytes(8, "little") + b"{}",
    b'[[dataset]]\nname = "d"\npath = "~nobody-of-this-name"\n',
    # A key of a version that OpenSSL knows and cannot read.
    b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VvBCIEIDkpiljNRg1RC+i0k7fbztBUb+XJf95gkTPZgyHm+I/d\n"
    b"-----END PRIVATE KEY-----\n",
    # A request for a certificate of a version that there is not.
    b"-----BEGIN CERTIFICATE REQUEST-----\n"
    b"MIHLMHICAWAwEDEOMAwGA1UEAwwFbm9ydGgwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    b"BwNCAASmGwAGrl2TDdqWXoKpfTXUh5mHUsZvr625mqSu814ibBVJ5rWjMjqxsYp/\n"
    b"uDgNsine/p19yaneAHC8Ta/i+0sOoAAwCgYIKoZIzj0EAwIDSQAwRgIhAK0j8oL/\n"
    b"h0Z5ol8v2bGdvtJBCsbyavIpvQvlAyBoArvxAiEAtZqXUDGIVollsij0s164llBI\n"
    b"VZfFu29n5ihgH4sea3k=\n"
    b"-----END CERTIFICATE REQUEST-----\n",
    b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 70_000 + b"\n-----END PRIVATE KEY-----\n",
)


@pytest.mark.parametrize("name", decoders())
def test_valid_bytes_give_a_value(name: str) -> None:
    decoder = decoders()[name]
    values = 0
    for seed in decoder.seeds():
        with contextlib.suppress(ComityError):
            decoder.decode(seed)
            values += 1
    assert values


NAMES = [pytest.param(name, marks=pytest.mark.long if name.startswith("backup") else ()) for name in decoders()]


@pytest.mark.parametrize("name", NAMES)
def test_what_others_were_broken_with_is_refused(name: str) -> None:
    for example in EXAMPLES:
        decoded(decoders()[name], example)


@pytest.mark.parametrize("name", NAMES)
def test_changed_bytes_give_a_value_or_an_error_of_ours(name: str) -> None:
    decoder = decoders()[name]
    examples = 15 if name in ON_DISK else 60 if name.startswith("body") or name in ("layout", "manifest") else 150

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200) | changed(decoder.seeds()))
    def never_anything_else(data: bytes) -> None:
        decoded(decoder, data)

    never_anything_else()


@pytest.mark.parametrize("name", ["vectors", "manifest", "layout", "body Submit", "body PartList"])
def test_a_small_input_does_not_become_a_large_value(name: str) -> None:
    decoder = decoders()[name]
    tracemalloc.start()
    try:
        for example in EXAMPLES:
            decoded(decoder, example)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()
