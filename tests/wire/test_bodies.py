"""Bodies: what is not exactly the message is refused, at a cost that does not depend on how wrong it is."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.wire.bodies import BodyError, TooLarge, parse
from comity.wire.messages import Ask, Blob, Contributed, Enrolment, Message, PartList, Source, Verdict

DIGEST = "a" * 64
LIMIT = 1 << 16
BLOB = {"digest": DIGEST, "size": 1, "parts": [DIGEST]}
GOOD: dict[str, Any] = {"vectors": BLOB, "weight": 2.0, "metrics": {"loss": [1.5, 3.0]}}


def refusal(kind: type[Message], body: bytes | dict[str, Any], limit: int = LIMIT) -> BodyError:
    with pytest.raises(BodyError) as caught:
        parse(kind, body if isinstance(body, bytes) else json.dumps(body).encode(), limit)
    return caught.value


def test_a_message_comes_back_from_its_body() -> None:
    message = parse(Contributed, json.dumps(GOOD).encode(), LIMIT)
    assert message == Contributed(
        vectors=Blob(digest=DIGEST, size=1, parts=(DIGEST,)), weight=2.0, metrics={"loss": (1.5, 3.0)}
    )
    assert parse(Contributed, message.model_dump_json().encode(), LIMIT) == message


class TestSize:
    def test_a_body_may_have_as_many_bytes_as_the_limit(self) -> None:
        body = json.dumps(GOOD).encode()
        assert parse(Contributed, body, len(body)).weight == 2.0

    def test_one_byte_more_is_refused_before_it_is_parsed(self) -> None:
        with pytest.raises(TooLarge, match="101 bytes"):
            parse(Verdict, b"[" * 101, 100)


class TestDepth:
    @pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"parts":[', b'[{"":'])
    def test_a_deep_body_is_refused_and_exhausts_no_stack(self, opening: bytes) -> None:
        assert "recursion" in refusal(Blob, opening * 100_000, 1 << 20).what

    def test_a_deep_body_that_is_closed_again_is_refused(self) -> None:
        assert "recursion" in refusal(PartList, b'{"digests":' + b"[" * 5000 + b"]" * 5000 + b"}").what


class TestNumberOfValues:
    """Each value costs memory, and each wrong one a line of an error: there is a limit to both."""

    @pytest.mark.parametrize(
        "body",
        [
            b'{"digests":[' + b"[]," * 200_000 + b"[]]}",
            b'{"digests":[' + b'"",' * 200_000 + b'""]}',
            b"{" + b",".join(b'"%d":0' % number for number in range(200_000)) + b"}",
        ],
        ids=["lists", "texts", "unknown fields"],
    )
    def test_too_many_values_are_refused_before_they_are_parsed(self, body: bytes) -> None:
        with pytest.raises(TooLarge, match="values"):
            parse(PartList, body, 4 << 20)

    def test_commas_in_a_text_are_no_values(self) -> None:
        source = Source(files={"a.py": "," * 500_000 + '\\"' * 1000})
        assert parse(Source, source.model_dump_json().encode(), 4 << 20) == source

    def test_a_text_without_an_end_hides_nothing(self) -> None:
        assert "JSON" in refusal(Source, b'{"files":{"a.py":"' + b'\\",' * 300_000, 4 << 20).what

    def test_who_asks_for_more_gets_more(self) -> None:
        body = PartList(digests=(DIGEST,) * 50).model_dump_json().encode()
        assert len(parse(PartList, body, LIMIT, values=50).digests) == 50
        with pytest.raises(TooLarge):
            parse(PartList, body, LIMIT, values=48)


class TestTypes:
    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
    def test_what_is_not_finite_is_no_number(self, text: str) -> None:
        body = json.dumps(GOOD).replace("2.0", text).encode()
        assert refusal(Contributed, body).where == "Contributed.weight"

    @pytest.mark.parametrize("weight", ["2.0", True, None, [2.0], {"value": 2.0}])
    def test_types_are_not_coerced(self, weight: Any) -> None:
        assert refusal(Contributed, GOOD | {"weight": weight}).where == "Contributed.weight"

    @pytest.mark.parametrize("size", [-1, 1.0, 1 << 41, 10**400])
    def test_sizes_are_whole_numbers_within_bounds(self, size: Any) -> None:
        assert refusal(Contributed, GOOD | {"vectors": BLOB | {"size": size}}).where == "Contributed.vectors.size"

    def test_unknown_fields_are_refused_by_name(self) -> None:
        assert refusal(Contributed, GOOD | {"role": "admin"}).where == "Contributed.role"

    def test_a_missing_field_is_named(self) -> None:
        assert refusal(Contributed, {"weight": 1.0}).where == "Contributed.vectors"

    def test_the_place_of_a_wrong_element_is_named(self) -> None:
        assert refusal(PartList, {"digests": [DIGEST, "b" * 63]}).where == "PartList.digests.1"

    @pytest.mark.parametrize("name", ["../etc/passwd", "a/b", "", ".hidden", "a\n", "a" * 65, "naïve", "a\x00"])
    def test_names_are_short_and_plain(self, name: str) -> None:
        body = {"secret": "s", "name": name, "signing_key": "A" * 43, "agreement_key": "A" * 43}
        assert refusal(Enrolment, body).where == "Enrolment.name"

    @pytest.mark.parametrize("key", ["A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "A" * 43 + "\n"])
    def test_a_key_has_one_text(self, key: str) -> None:
        body = {"secret": "s", "name": "north", "signing_key": key, "agreement_key": "A" * 43}
        assert refusal(Enrolment, body).where == "Enrolment.signing_key"

    @pytest.mark.parametrize(
        "body", [b"", b"null", b"[]", b"3", b'"text"', b"{", b"{}{}", b"\xff\xfe{}", b'{"a":"\\ud800"}']
    )
    def test_what_is_no_object_is_refused(self, body: bytes) -> None:
        assert refusal(Verdict, body).where.startswith("Verdict")


class TestErrors:
    def test_an_error_does_not_repeat_what_was_sent(self) -> None:
        body = {"secret": "hunter2" * 40, "name": "north", "signing_key": "A" * 43, "agreement_key": "A" * 43}
        assert "hunter2" not in str(refusal(Enrolment, body))

    def test_a_field_that_its_sender_named_is_shown_short_and_in_plain_characters(self) -> None:
        error = refusal(Verdict, {"accepted": True, "\x1b[2J\n" + "x" * 5000: 1})
        assert error.where.isascii()
        assert error.where.isprintable()
        assert len(error.where) < 300


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123abc\\ .e-', max_size=60).map(str.encode))
def test_whatever_comes_is_a_message_or_a_body_error(body: bytes) -> None:
    for kind in (Ask, Contributed, Source, PartList):
        with contextlib.suppress(BodyError):
            assert isinstance(parse(kind, body, LIMIT), kind)
