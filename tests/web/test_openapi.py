"""OpenAPI documents of the services, as readers and client generators see them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import Served

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture
async def documents(order: Served, scm: Served, adapter: Served, console: Served) -> dict[str, Any]:
    services = {"order": order, "scm": scm, "adapter": adapter, "console": console}
    return {name: (await each.http.get("/openapi.json")).json() for name, each in services.items()}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, of_path in document["paths"].items():
        for method in METHODS & of_path.keys():
            yield f"{method.upper()} {path}", of_path[method]


def objects(found: object) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        yield found
        for each in found.values():
            yield from objects(each)
    elif isinstance(found, list):
        for each in found:
            yield from objects(each)


async def test_names_of_models_are_plain(documents: dict[str, Any]) -> None:
    """Unique without the path of a module, and the same for requests and responses."""
    names = [name for document in documents.values() for name in document["components"]["schemas"]]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z]+", name)] == []


async def test_names_of_operations_are_readable_and_unique(documents: dict[str, Any]) -> None:
    for document in documents.values():
        ids = [operation["operationId"] for _, operation in operations(document)]
        assert len(ids) == len(set(ids))
        assert [each for each in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)*", each)] == []
    assert "orders_place" in [each["operationId"] for _, each in operations(documents["order"])]


async def test_every_array_has_items(documents: dict[str, Any]) -> None:
    for document in documents.values():
        arrays = [each for each in objects(document) if each.get("type") == "array"]
        assert arrays
        assert [each for each in arrays if "items" not in each] == []


async def test_every_document_names_its_server(documents: dict[str, Any]) -> None:
    """Relative to the document, because a service does not know its address behind a proxy."""
    for document in documents.values():
        assert [each["url"] for each in document["servers"]] == ["/"]


async def test_headers_of_responses_are_documented(documents: dict[str, Any]) -> None:
    """Of errors everywhere; ETag, Link and Location where they are sent."""
    for document in documents.values():
        for name, operation in operations(document):
            for status, header in (("401", "WWW-Authenticate"), ("415", "Accept"), ("503", "Retry-After")):
                response = operation["responses"].get(status)
                if response and "health" not in operation["tags"]:
                    assert header in response["headers"], (name, status)
            parameters = {each["name"] for each in operation.get("parameters", ())}
            if "If-Match" in parameters:
                success = operation["responses"].get("200") or operation["responses"]["201"]
                assert "ETag" in success["headers"], name
    order, scm = documents["order"]["paths"], documents["scm"]["paths"]
    assert set(order["/orders"]["post"]["responses"]["201"]["headers"]) == {"ETag", "Location"}
    assert "Link" in order["/orders"]["get"]["responses"]["200"]["headers"]
    assert "Link" in scm["/back-office/stock"]["get"]["responses"]["200"]["headers"]
    started = documents["console"]["paths"]["/api/replay"]["post"]["responses"]["202"]
    assert "Location" in started["headers"]


async def test_the_tokens_of_each_operation_are_documented(documents: dict[str, Any]) -> None:
    """In development, a read of personal data also needs none: `{}`."""

    def security(service: str, method: str, path: str) -> list[Any]:
        found: list[Any] = documents[service]["paths"][path][method].get("security", [])
        return sorted(next(iter(each), "") for each in found)

    assert security("order", "post", "/orders") == []
    assert security("order", "get", "/orders") == ["", "readerToken"]
    assert security("scm", "put", "/back-office/stock/{sku}") == ["operatorToken"]
    dispatched = "/external-api/invoices/{invoice_id}/dispatched"
    assert security("scm", "post", dispatched) == ["carrierToken", "operatorToken"]
    assert security("scm", "get", "/partner-office/purchase-orders") == ["", "readerToken", "supplierToken"]
    for document in documents.values():
        schemes = document["components"]["securitySchemes"]
        used = {name for _, each in operations(document) for way in each.get("security", ()) for name in way}
        assert used <= schemes.keys()
