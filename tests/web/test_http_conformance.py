"""Rules of HTTP for all endpoints: methods, media types, preconditions, links and problem types."""

import asyncio
import json
import re
import sys

import httpx
import pytest

from local.ports import HOST
from tests.adapter.test_adapter import event
from tests.order.test_api import ORDER, PROBLEM, place
from tests.serving import OPERATOR, SERVICE, Served

PARAMETERS = {"order_id": "20210717235959000000", "orderId": "20210717235959000000"}


async def paths(service: Served) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = (await service.http.get("/openapi.json")).json()["paths"]
    return found


async def test_head_is_get_without_a_body(
    order: Served, scm: Served, adapter: Served, console: Served
) -> None:
    """For every endpoint: the same status and headers; also for streams, which end."""
    for service in (order, scm, adapter, console):
        gets = [path for path, methods in (await paths(service)).items() if "get" in methods]
        for path in ["/docs", "/problems", "/openapi.json", *gets]:
            if path in ("/metrics", "/api/live", "/progress"):  # their content changes
                continue
            url = re.sub(r"\{(\w+)\}", lambda name: PARAMETERS.get(name[1], "1"), path)
            get = await service.http.get(url, headers=OPERATOR)
            head = await service.http.head(url, headers=OPERATOR)
            assert (url, head.status_code, head.content) == (url, get.status_code, b"")
            for name in ("content-type", "etag", "link"):
                assert head.headers.get(name) == get.headers.get(name)
    live = await console.http.head("/api/live", timeout=5)
    assert (live.status_code, live.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (await order.http.head("/metrics")).status_code == 200


async def test_a_connection_serves_further_requests_after_head(lone_order: Served) -> None:
    """The response has no body on the wire."""
    reader, writer = await asyncio.open_connection(HOST, lone_order.port)
    for method in (b"HEAD", b"GET"):
        writer.write(method + b" /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
    for _ in range(2):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 18" in head
    assert await reader.readexactly(18) == b'{"status":"alive"}'
    writer.close()


async def test_allow_lists_every_method(lone_order: Served) -> None:
    answer = await lone_order.http.delete("/orders")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"", 400),
        ("application/json", b'"\xff"', 400),
        ("application/json", b"{}", 422),
        ("application/json", b"[]", 422),
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a=b", 415),
        ("application/xml", b"<a/>", 415),
        ("", b"{}", 415),
        ("Application/JSON; Charset=UTF-8", b"{}", 422),
    ],
)
async def test_malformed_unsupported_and_invalid_bodies_differ(
    order: Served, scm: Served, adapter: Served, console: Served, content_type: str, body: bytes, status: int
) -> None:
    """In every service: 400 for what is not JSON, 415 for another media type, 422 for invalid values."""
    for service, method, path, headers in [
        (order, "POST", "/orders", {}),
        (scm, "PUT", "/back-office/stock/MUG-01", OPERATOR),
        (adapter, "POST", "/api/routes/dry-run", OPERATOR),
        (console, "POST", "/api/dead-letters/redrive", OPERATOR),
    ]:
        content = {"content-type": content_type} if content_type else {}
        answer = await service.http.request(method, path, content=body, headers=headers | content)
        assert (path, answer.status_code) == (path, status), answer.text
        assert answer.headers["content-type"] == PROBLEM
        assert status != 415 or answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/cloudevents-batch+json", 200),
        ("Application/CloudEvents-Batch+JSON; charset=UTF-8", 200),
        ("application/json", 415),
    ],
)
async def test_media_types_are_case_insensitive(adapter: Served, content_type: str, status: int) -> None:
    answer = await adapter.http.post(
        "/events", content=json.dumps([event()]), headers=SERVICE | {"content-type": content_type}
    )
    assert answer.status_code == status


async def test_links_are_relative(lone_order: Served) -> None:
    """A service behind a proxy does not know the address that its client used."""
    for _ in range(2):
        await place(lone_order)
    page = await lone_order.http.get("/orders?limit=1", headers={"host": "localhost:1"})
    url = page.links["next"]["url"]
    assert url.startswith("/orders?limit=1&cursor=")
    assert (await lone_order.http.get(url)).json() != page.json()


async def test_every_problem_type_is_described(lone_order: Served, scm: Served) -> None:
    """Its URI leads to an anchor on a page of the service."""
    order_id = await place(lone_order)
    problems = [
        await lone_order.http.get("/nothing"),
        await lone_order.http.get("/orders/20210717235959000000"),
        await lone_order.http.post("/orders", json={}),
        await lone_order.http.post("/orders", content=b"", headers={"content-type": "text/plain"}),
        await lone_order.http.delete("/orders"),
        await lone_order.http.post(f"/orders/{order_id}/cancel", headers={"if-match": '"7"'}),
        await lone_order.http.get("/event-log"),
        await lone_order.http.get("/livez", headers={"host": "evil.example"}),
        await scm.http.get("/back-office/stock/NONE"),
    ]
    types = [problem.json()["type"] for problem in problems]
    assert types == [
        "/problems#not-found",
        "/problems#unknown-order",
        "/problems#invalid-values",
        "/problems#malformed-request",
        "/problems#method-not-allowed",
        "/problems#version-mismatch",
        "/problems#unauthenticated",
        "/problems#misdirected-request",
        "/problems#not-found",
    ]
    page = (await lone_order.http.get("/problems")).text
    for each in types:
        assert f'id="{each.partition("#")[2]}"' in page
    assert "The order is at none of the required versions." in page
    assert problems[5].json()["title"] == "Version mismatch"


async def test_unknown_methods_share_one_label(lone_order: Served) -> None:
    """Of the metric of requests: a client can send any method that the parser knows."""
    for method in ("PROPFIND", "MKCOL", "SEARCH", "PURGE"):
        assert (await lone_order.http.request(method, "/orders")).status_code == 405
    text = (await lone_order.http.get("/metrics")).text
    methods = set(re.findall(r'http_request_seconds_count\{method="(\w+)"', text))
    assert "other" in methods
    assert methods <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}


@pytest.mark.processes
async def test_no_service_exports_the_metrics_of_another(processes: None) -> None:
    own = {"order": set(), "scm": {"circuit"}, "adapter": {"adapter_events"}, "console": set()}
    script = (
        "import services.{}.main, prometheus_client as p; print(*{{m.name for m in p.REGISTRY.collect()}})"
    )
    for service, names in own.items():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script.format(service), stdout=asyncio.subprocess.PIPE
        )
        exported = set((await process.communicate())[0].decode().split())
        foreign = set().union(*(other for each, other in own.items() if each != service))
        assert names <= exported
        assert not exported & foreign


async def count(scm: Served, pieces: int, **conditions: str) -> httpx.Response:
    headers = OPERATOR | {name.replace("_", "-"): value for name, value in conditions.items()}
    return await scm.http.put("/back-office/stock/MUG-01", json={"onHand": pieces}, headers=headers)


async def test_a_count_of_the_stock_can_be_conditional(scm: Served) -> None:
    """If-Match prevents a lost update, `If-None-Match: *` replaces nothing; 412 changes nothing."""
    path = "/back-office/stock/MUG-01"
    assert (await count(scm, 1, if_match="*")).status_code == 412
    assert (await scm.http.get(path)).status_code == 404
    created = await count(scm, 7, if_none_match="*")
    assert created.status_code == 200
    read = await scm.http.get(path)
    assert (read.json()["onHand"], read.headers["etag"]) == (7, created.headers["etag"])
    assert (await count(scm, 8, if_none_match="*")).status_code == 412
    assert (await count(scm, 8, if_none_match=read.headers["etag"])).status_code == 412
    changed = await count(scm, 8, if_match=read.headers["etag"])
    assert changed.status_code == 200
    assert changed.headers["etag"] != read.headers["etag"]
    assert (await count(scm, 9, if_match=read.headers["etag"])).status_code == 412
    assert (await count(scm, 9, if_match="9")).status_code == 400
    assert (await scm.http.get(path)).json()["onHand"] == 8
    unchanged = await scm.http.get(path, headers={"if-none-match": changed.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "command", "body"),
    [
        ("POST", "complete", None),
        ("POST", "cancel", None),
        ("PUT", "delivery-address", ORDER["deliveryAddress"]),
        ("PUT", "memo", {"memo": "ring twice"}),
    ],
)
async def test_every_command_respects_if_none_match(
    lone_order: Served, method: str, command: str, body: object
) -> None:
    """412 if it names the order's version; nothing changes."""
    path = f"/orders/{await place(lone_order)}"
    for tags in ("*", '"1"', 'W/"1"', '"7", "1"'):
        answer = await lone_order.http.request(
            method, f"{path}/{command}", json=body, headers={"if-none-match": tags}
        )
        assert answer.status_code == 412
    assert (await lone_order.http.get(path)).headers["etag"] == '"1"'
    answer = await lone_order.http.request(
        method, f"{path}/{command}", json=body, headers={"if-none-match": '"7"'}
    )
    assert answer.status_code == 200


async def test_a_read_respects_if_match(lone_order: Served) -> None:
    path = f"/orders/{await place(lone_order)}"
    assert (await lone_order.http.get(path, headers={"if-match": '"2"'})).status_code == 412
    assert (await lone_order.http.get(path, headers={"if-match": '"1"'})).status_code == 200
