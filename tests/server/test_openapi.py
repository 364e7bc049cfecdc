"""The API's document: it is the one that the code gives, whole, and says of every route who may ask."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from comity.server.app import _STATUSES
from comity.server.openapi import API_VERSION, REFUSALS, text

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


@cache
def document() -> Any:
    return json.loads(text())


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_published_one_is_what_the_code_gives() -> None:
    assert PUBLISHED.read_text() == text(), "run: comity server openapi > docs/openapi.json"


def test_every_reference_in_it_leads_to_a_component() -> None:
    found = set(references(document()))
    assert "#/components/schemas/Submit" in found
    for reference in found:
        node = document()
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_it_has_a_version_of_its_own_which_is_in_the_paths() -> None:
    assert document()["info"]["version"] == API_VERSION
    assert {path.split("/")[1] for _, path, _ in operations()} <= {f"v{API_VERSION}", "healthz", "readyz", "metrics"}


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does_and_who_may() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations():
        assert operation["summary"].endswith("."), f"{method} {path} has no docstring"
        assert operation["x-comity-roles"]
        signed = operation["x-comity-roles"] != ["anybody"]
        assert bool(operation["security"]) == signed
        assert ("401" in operation["responses"]) or not signed


def test_every_refusal_that_the_application_makes_is_described() -> None:
    assert set(_STATUSES.values()) - {500} <= set(REFUSALS)


@pytest.mark.parametrize("name", ["Submit", "Contributed", "Enrolment", "Problem"])
def test_bodies_are_closed(name: str) -> None:
    assert document()["components"]["schemas"][name]["additionalProperties"] is False
