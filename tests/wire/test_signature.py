"""Signatures: a request is what a member sent, now, to this deployment, once; or it is refused.

`http_message_signatures`, an implementation of RFC 9421 by others, is asked for its opinion in both directions.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import http_message_signatures
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.identity.keys import SigningKey
from comity.wire.base64url import decode, encode
from comity.wire.digests import content_digest, sha256
from comity.wire.signature import SKEW, WINDOW, Fault, SignatureError, joined, read, sign, verify
from comity.wire.transport import Request

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NOW = 1_750_000_000.25
NONCE = bytes(range(16))
PLAIN = Request("POST", "/v1/work", {"wait": "30", "after": ""}, {"accept": "application/json"}, b'{"open":[]}')
SIGNED = sign(PLAIN, KEY, "north-sea", NOW, NONCE)
PARAMETERS = SIGNED.headers["signature-input"].partition(");")[2].split(";")

paths = st.lists(
    st.text(alphabet="abcXYZ019-._~!$&'()*+,;=:@") | st.sampled_from(["%20", "%C3%A9", "%2F"]), max_size=6
).map(lambda steps: "/" + "/".join(steps))
queries = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


def key_of(keyid: str) -> str | None:
    return KEY.public if keyid == KEY.id else None


def fault(
    request: Request, now: float = NOW, deployment: str = "north-sea", keys: Callable[[str], str | None] = key_of
) -> Fault:
    with pytest.raises(SignatureError) as caught:
        read(request, deployment, now, keys)
    return caught.value.reason


def resigned(**parameters: Any) -> Request:
    """The request with these parameters in place of its own (None: without), and with a signature that fits them."""
    values: dict[str, Any] = {
        "created": int(NOW),
        "expires": int(NOW) + WINDOW,
        "nonce": encode(NONCE),
        "keyid": KEY.id,
        "alg": "ed25519",
        "tag": "north-sea",
    }
    values |= parameters
    shown = {
        name: f'"{value}"' if isinstance(value, str) else value for name, value in values.items() if value is not None
    }
    return with_input("".join(f";{name}={value}" for name, value in shown.items()))


def with_input(
    parameters: str, components: str = '"@method" "@path" "@query" "content-digest"', request: Request = SIGNED
) -> Request:
    """The request signed over what is written here, by the holder of the key."""
    values = {
        '"@method"': request.method,
        '"@path"': request.path,
        '"@query"': request.target.removeprefix(request.path),
        '"content-digest"': request.headers["content-digest"],
        '"@authority"': "server",
    }
    lines = [f"{name}: {values[name.partition(';')[0]]}" for name in components.split()]
    member = f"({components}){parameters}"
    signature = KEY.sign("\n".join([*lines, f'"@signature-params": {member}']).encode())
    return request.having(signature_input=f"comity={member}", signature=f"comity=:{base64(signature)}:")


def base64(data: bytes) -> str:
    return encode(data).replace("-", "+").replace("_", "/") + "=" * (-len(data) % 3)


class TestGood:
    def test_a_signed_request_says_who_when_and_what(self) -> None:
        signed = read(SIGNED, "north-sea", NOW, key_of)
        assert (signed.keyid, signed.created, signed.expires) == (KEY.id, int(NOW), int(NOW) + WINDOW)
        assert decode(signed.nonce) == NONCE
        assert signed.body == sha256(PLAIN.body)

    @given(
        st.sampled_from(["GET", "PUT", "POST", "PATCH"]),
        paths,
        queries,
        st.binary(max_size=50),
        st.binary(min_size=16, max_size=64),
    )
    def test_whatever_is_signed_is_read(
        self, method: str, path: str, query: dict[str, str], body: bytes, nonce: bytes
    ) -> None:
        request = Request(method, path, query, {"x-other": "é\n"}, body)
        try:
            signed = sign(request, KEY, "north-sea", NOW, nonce)
        except SignatureError:
            assert any("\ud800" <= letter <= "\udfff" for letter in "".join([*query, *query.values()]))
            return
        assert read(signed, "north-sea", NOW + 1, key_of).body == sha256(body)

    def test_everything_but_the_signature_stays_as_it_was(self) -> None:
        names = {"signature", "signature-input", "content-digest"}
        assert {**SIGNED.headers, **PLAIN.headers} == SIGNED.headers
        assert SIGNED.headers.keys() - PLAIN.headers.keys() == names
        assert (SIGNED.method, SIGNED.target, SIGNED.body) == (PLAIN.method, PLAIN.target, PLAIN.body)

    def test_a_proxy_may_change_what_is_not_covered(self) -> None:
        read(SIGNED.having(host="elsewhere", via="1.1 proxy", accept="*/*"), "north-sea", NOW, key_of)

    def test_parameters_may_stand_in_another_order(self) -> None:
        read(with_input("".join(f";{parameter}" for parameter in reversed(PARAMETERS))), "north-sea", NOW, key_of)


class TestByOthers:
    """The profile is RFC 9421: what is signed here, others verify, and the other way round."""

    class Message:
        def __init__(self, request: Request) -> None:
            self.method, self.headers = request.method, dict(request.headers)
            self.url = f"https://server:8443{request.target}"

    class Keys(http_message_signatures.HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
            return KEY.secret.public_key()

        def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
            return KEY.secret

    ED25519 = http_message_signatures.algorithms.ED25519

    def test_others_verify_what_is_signed_here(self) -> None:
        verifier = http_message_signatures.HTTPMessageVerifier(
            signature_algorithm=self.ED25519, key_resolver=self.Keys()
        )
        request = sign(PLAIN, KEY, "north-sea", time.time(), os.urandom(16))
        (result,) = verifier.verify(self.Message(request), expect_tag="north-sea", body=PLAIN.body)
        assert set(result.covered_components) == {
            '"@method"',
            '"@path"',
            '"@query"',
            '"content-digest"',
            '"@signature-params"',
        }
        assert result.parameters["keyid"] == KEY.id

    def test_what_others_sign_is_read_here(self) -> None:
        now = datetime.datetime.fromtimestamp(NOW)
        message = self.Message(PLAIN.having(content_digest=content_digest(PLAIN.body)))
        signer = http_message_signatures.HTTPMessageSigner(signature_algorithm=self.ED25519, key_resolver=self.Keys())
        signer.sign(
            message,
            key_id=KEY.id,
            created=now,
            expires=now + datetime.timedelta(seconds=30),
            nonce=encode(NONCE),
            tag="north-sea",
            covered_component_ids=("@method", "@path", "@query", "content-digest"),
            use_existing_digest=True,
        )
        headers = {name.lower(): value for name, value in message.headers.items()}
        assert read(replace(PLAIN, headers=headers), "north-sea", NOW, key_of).keyid == KEY.id


class TestChanged:
    def test_another_method(self) -> None:
        assert fault(replace(SIGNED, method="PUT")) is Fault.FORGED

    @pytest.mark.parametrize("path", ["/v1/runs", "/v1/roster/", "/v1//roster", "/v1/%72oster", "/V1/roster"])
    def test_another_path(self, path: str) -> None:
        signed = sign(replace(PLAIN, path="/v1/roster"), KEY, "north-sea", NOW, NONCE)
        assert fault(replace(signed, path=path)) is Fault.FORGED

    @pytest.mark.parametrize("query", [{}, {"wait": "30"}, {"after": "", "wait": "30"}, {"wait": "60", "after": ""}])
    def test_another_query(self, query: dict[str, str]) -> None:
        assert fault(replace(SIGNED, query=query)) is Fault.FORGED

    @pytest.mark.parametrize("body", [b"", b'{"open":[] }', b'{"open":[1]}'])
    def test_another_body(self, body: bytes) -> None:
        assert fault(replace(SIGNED, body=body)) is Fault.BODY

    def test_another_body_with_a_digest_that_fits_it(self) -> None:
        assert fault(replace(SIGNED, body=b"{}").having(content_digest=content_digest(b"{}"))) is Fault.FORGED

    def test_the_signature_of_another_request(self) -> None:
        other = sign(replace(PLAIN, path="/v1/runs"), KEY, "north-sea", NOW, NONCE)
        assert fault(SIGNED.having(signature=other.headers["signature"])) is Fault.FORGED

    @settings(max_examples=300)
    @given(st.data())
    def test_no_byte_of_what_is_covered_can_change(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["method", "path", "body", "content-digest", "signature-input", "signature"]))
        text = SIGNED.body.decode() if name == "body" else SIGNED.headers.get(name) or getattr(SIGNED, name)
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.characters(max_codepoint=255).filter(lambda letter: letter != text[place]))
        changed = text[:place] + letter + text[place + 1 :]
        request = SIGNED.having(**{name: changed})
        if name in ("method", "path"):
            request = replace(SIGNED, **{name: changed})
        elif name == "body":
            request = replace(SIGNED, body=changed.encode())
        assert isinstance(fault(request), Fault)


class TestTime:
    def test_a_request_is_good_until_it_expires(self) -> None:
        read(SIGNED, "north-sea", int(NOW) + WINDOW, key_of)
        assert fault(SIGNED, now=int(NOW) + WINDOW + 0.01) is Fault.STALE

    def test_a_request_may_come_from_a_clock_that_is_a_little_ahead(self) -> None:
        read(SIGNED, "north-sea", int(NOW) - SKEW, key_of)
        assert fault(SIGNED, now=int(NOW) - SKEW - 0.01) is Fault.FUTURE

    @pytest.mark.parametrize("expires", [int(NOW) + WINDOW + 1, int(NOW) + 10**9, int(NOW) - 1])
    def test_nobody_signs_for_longer_than_the_window(self, expires: int) -> None:
        assert fault(resigned(expires=expires)) is Fault.WINDOW

    @pytest.mark.parametrize("created", ["soon", None])
    def test_a_request_without_a_time_is_no_request(self, created: str | None) -> None:
        assert fault(resigned(created=created)) is Fault.COVERAGE


class TestReplay:
    def test_the_nonce_is_handed_out_to_be_remembered(self) -> None:
        again = sign(PLAIN, KEY, "north-sea", NOW, os.urandom(16))
        first, second = read(SIGNED, "north-sea", NOW, key_of), read(again, "north-sea", NOW, key_of)
        assert first == read(SIGNED, "north-sea", NOW, key_of)
        assert first.nonce != second.nonce

    def test_after_a_nonce_may_be_forgotten_its_request_is_stale(self) -> None:
        assert fault(SIGNED, now=read(SIGNED, "north-sea", NOW, key_of).expires + 1) is Fault.STALE

    @pytest.mark.parametrize("nonce", ["", "AAAA", encode(bytes(15)), encode(bytes(65)), "!" * 22, "A" * 21 + "B"])
    def test_a_nonce_that_is_empty_short_long_or_garbled(self, nonce: str) -> None:
        assert fault(resigned(nonce=nonce)) is Fault.NONCE

    def test_a_request_for_another_deployment(self) -> None:
        assert fault(SIGNED, deployment="baltic") is Fault.DEPLOYMENT


class TestKeys:
    def test_an_unknown_key(self) -> None:
        assert fault(SIGNED, keys=lambda keyid: None) is Fault.UNKNOWN_KEY

    def test_somebody_who_names_another_members_key(self) -> None:
        mallory = SigningKey.new()

        class Impostor:
            id = KEY.id

            def sign(self, message: bytes) -> bytes:
                return mallory.sign(message)

        assert fault(sign(PLAIN, Impostor(), "north-sea", NOW, NONCE)) is Fault.FORGED

    @pytest.mark.parametrize("key", ["", "A", "A" * 44, "é"])
    def test_a_key_that_is_none_verifies_nothing(self, key: str) -> None:
        assert isinstance(fault(SIGNED, keys=lambda keyid: key), Fault)

    def test_a_signature_by_the_key_of_nobody_is_refused(self) -> None:
        """Everybody can sign as nobody: its secret scalar is 1 (RFC 8032, 5.1.6: S = r + k a, here with r = a = 1)."""
        point = b"\x58" + b"\x66" * 31
        order = 2**252 + 27742317777372353535851937790883648493

        class Nobody:
            id = SigningKey.new().id

            def sign(self, message: bytes) -> bytes:
                challenge = int.from_bytes(hashlib.sha512(point + point + message).digest(), "little")
                return point + ((1 + challenge) % order).to_bytes(32, "little")

        assert verify(encode(point), Nobody().sign(b"x"), b"x")
        assert fault(sign(PLAIN, Nobody(), "north-sea", NOW, NONCE)) is Fault.UNKNOWN_KEY

    def test_the_reason_is_not_in_what_a_client_could_be_told(self) -> None:
        error = pickle.loads(pickle.dumps(SignatureError(Fault.UNKNOWN_KEY)))
        assert (error.reason, error.mend) == (Fault.UNKNOWN_KEY, "")


class TestDowngrade:
    """Less than everything is nothing, even when the member itself signed it so."""

    def test_the_parameters_as_they_should_be(self) -> None:
        assert read(resigned(), "north-sea", NOW, key_of).keyid == KEY.id

    @pytest.mark.parametrize("name", ["created", "expires", "nonce", "keyid", "alg", "tag"])
    def test_a_missing_parameter(self, name: str) -> None:
        assert fault(resigned(**{name: None})) is Fault.COVERAGE

    def test_a_parameter_that_nobody_knows(self) -> None:
        assert fault(resigned(scope="all")) is Fault.COVERAGE

    @pytest.mark.parametrize("algorithm", ["", "none", "ED25519", "hmac-sha256", "rsa-v1_5-sha256"])
    def test_another_algorithm(self, algorithm: str) -> None:
        assert fault(resigned(alg=algorithm)) is Fault.ALGORITHM

    @pytest.mark.parametrize(
        "components",
        [
            "",
            '"@method" "@path" "@query"',
            '"@path" "@query" "content-digest"',
            '"@method" "@path" "content-digest"',
            '"@method" "@path" "@query" "content-digest" "@authority"',
            '"@path" "@method" "@query" "content-digest"',
            '"@method" "@path" "@query" "content-digest";req',
            '"@method" "@path" "@query" "content-digest" "content-digest"',
        ],
    )
    def test_other_components(self, components: str) -> None:
        assert fault(with_input(";" + ";".join(PARAMETERS), components)) is Fault.COVERAGE

    def test_a_body_that_nobody_vouches_for(self) -> None:
        headers = {name: value for name, value in SIGNED.headers.items() if name != "content-digest"}
        assert fault(replace(SIGNED, headers=headers)) is Fault.MISSING

    @pytest.mark.parametrize("digest", ["", "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", "sha-256=:AAAA:", "sha-512=:AAAA:"])
    def test_a_weaker_digest(self, digest: str) -> None:
        assert fault(with_input(";" + ";".join(PARAMETERS), request=SIGNED.having(content_digest=digest))) is Fault.BODY


class TestGarbled:
    @pytest.mark.parametrize("name", ["signature", "signature-input", "content-digest"])
    def test_a_missing_field(self, name: str) -> None:
        assert fault(replace(SIGNED, headers={n: v for n, v in SIGNED.headers.items() if n != name})) is Fault.MISSING

    @pytest.mark.parametrize("name", ["signature", "signature-input"])
    @pytest.mark.parametrize(
        "value", ["", " ", "comity", "comity=", "comity=1", 'comity="x"', "comity=()", "\x00", "é", "comity=:AAA"]
    )
    def test_a_field_that_is_none(self, name: str, value: str) -> None:
        assert fault(SIGNED.having(**{name: value})) in (Fault.MALFORMED, Fault.COVERAGE, Fault.FORGED)

    @pytest.mark.parametrize("name", ["signature", "signature-input", "content-digest"])
    def test_an_oversized_field_is_not_parsed(self, name: str) -> None:
        assert fault(SIGNED.having(**{name: SIGNED.headers[name] + " " * 5000})) is Fault.MALFORMED

    def test_truncated_base64(self) -> None:
        signature = SIGNED.headers["signature"]
        for cut in (f"{signature[:-2]}:", f"{signature[:-6]}:", f"{signature[:-40]}==:", f"{signature[:-4]}:"):
            assert fault(SIGNED.having(signature=cut)) in (Fault.MALFORMED, Fault.FORGED)

    def test_repeated_fields(self) -> None:
        """A field that is sent twice is a list: neither the first nor the last of them counts."""
        for name in ("signature", "signature-input", "content-digest"):
            lines = [(field.encode(), value.encode()) for field, value in SIGNED.headers.items()]
            headers = joined([*lines, (name.title().encode(), SIGNED.headers[name].encode())])
            assert fault(replace(SIGNED, headers=headers)) in (Fault.MALFORMED, Fault.BODY)

    def test_a_second_signature_under_another_label(self) -> None:
        again = {
            name: f"{SIGNED.headers[name]}, {SIGNED.headers[name].replace('comity=', 'other=')}"
            for name in ("signature",)
        }
        both = again | {"signature-input": f"{SIGNED.headers['signature-input']}, other=()"}
        assert fault(SIGNED.having(**both)) is Fault.MALFORMED

    @pytest.mark.parametrize("extra", [";a", ";alg=none", ';keyid="other"'])
    def test_a_signature_with_parameters_of_its_own(self, extra: str) -> None:
        assert fault(SIGNED.having(signature=SIGNED.headers["signature"] + extra)) is Fault.MALFORMED

    def test_labels_that_differ(self) -> None:
        assert fault(SIGNED.having(signature=SIGNED.headers["signature"].replace("comity", "other"))) is Fault.MALFORMED

    @pytest.mark.parametrize(
        "path", ["", "v1/work", "//evil\n", "/a b", "/a?b", "/a#b", '/a"', "/é", "/%", "/" + "a" * 3000]
    )
    def test_a_path_that_http_does_not_know_is_neither_signed_nor_read(self, path: str) -> None:
        with pytest.raises(SignatureError):
            sign(replace(PLAIN, path=path), KEY, "north-sea", NOW, NONCE)
        assert fault(replace(SIGNED, path=path)) is Fault.MALFORMED

    @pytest.mark.parametrize("method", ["", "post", "PO ST", "POST\n", "GET\nX"])
    def test_a_method_that_http_does_not_know_is_neither_signed_nor_read(self, method: str) -> None:
        with pytest.raises(SignatureError):
            sign(replace(PLAIN, method=method), KEY, "north-sea", NOW, NONCE)
        assert fault(replace(SIGNED, method=method)) is Fault.MALFORMED

    @given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
    def test_whatever_comes_is_refused_by_name(self, inputs: str, signature: str, digest: str) -> None:
        headers = {"signature-input": inputs, "signature": signature, "content-digest": digest}
        assert isinstance(fault(replace(SIGNED, headers=headers)), Fault)


def test_fields_are_joined_as_http_says() -> None:
    assert joined([(b"A", b"1"), (b"b", b"\xe9"), (b"a", b"2")]) == {"a": "1, 2", "b": "é"}
