"""The page about the API: its example is signed as it says, and its tables are those of the document."""

import base64
import json
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.identity.keys import SigningKey
from comity.wire.base64url import encode
from comity.wire.signature import read, sign
from comity.wire.transport import Request

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text()
DOCUMENT = json.loads((DOCS / "openapi.json").read_text())
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = SigningKey(SECRET)
PLAIN = Request("GET", "/v1/runs/00000000000000ab", {"after": "3", "wait": "30"})


def block(title: str) -> str:
    found = re.search(rf'```\w+ title="{title}"\n(.*?)\n```', PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def example() -> Request:
    line, *fields = block("request").split("\n")
    assert line == f"GET {PLAIN.target} HTTP/1.1"
    return PLAIN.having(**{name.replace("-", "_"): value for name, value in (field.split(": ", 1) for field in fields)})


def test_the_example_is_what_comity_signs() -> None:
    assert sign(PLAIN, KEY, "study", 1_750_000_000, bytes(range(16))).headers == example().headers


def test_the_example_is_what_comity_reads() -> None:
    signed = read(example(), "study", 1_750_000_030, lambda keyid: KEY.public if keyid == KEY.id else None)
    assert signed.nonce == encode(bytes(range(16)))


def test_the_signature_is_over_the_bytes_of_the_page_and_nothing_else() -> None:
    """Ed25519 is deterministic: whoever signs these bytes with this key gets this signature."""
    made = base64.b64encode(SECRET.sign(block("base").encode())).decode()
    assert example().headers["signature"] == f"comity=:{made}:"


def test_every_route_and_every_refusal_is_in_its_table() -> None:
    routes = {
        f"| `{method.upper()} {path}` | {operation['summary'].rstrip('.')} | {', '.join(operation['x-comity-roles'])} |"
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }
    assert routes == {line for line in PAGE.splitlines() if re.match(r"\| `[A-Z]+ /", line)}
    refusals = {f"| {status} | {one['description']} |" for status, one in DOCUMENT["components"]["responses"].items()}
    assert refusals == {line for line in PAGE.splitlines() if re.match(r"\| \d{3} \|", line)}
