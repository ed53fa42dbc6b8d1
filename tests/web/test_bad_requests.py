"""Malformed requests: each is rejected at little cost, and the next one is served."""

import asyncio
import json

import pytest

from local.ports import HOST
from tests.adapter.test_adapter import BATCH
from tests.order.test_api import ORDER, PROBLEM
from tests.serving import OPERATOR, SERVICE, Served

DEEP = b"[" * 30_000


async def send_raw(service: Served, request: bytes) -> tuple[bytes, dict[str, object]]:
    """Send raw bytes and return the status line and the problem document."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    writer.write(request)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"content-type: application/problem+json" in head
    return head.splitlines()[0], json.loads(body)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /orders/" + b"1" * 5_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /livez?" + b"q=1&" * 1_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 5_000_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + b"x: x\r\n" * 1_000_000 + b"\r\n",
    ],
    ids=["path", "query", "header", "headers"],
)
async def test_an_oversized_head_is_rejected(lone_order: Served, request_: bytes) -> None:
    """G9: 431 after 64 KiB of path, query, header value or headers."""
    status, problem = await send_raw(lone_order, request_)
    assert status == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert problem["detail"] == "Request line and headers exceed 65536 bytes"
    assert (await lone_order.http.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET /livez?q=\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: \x00\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: many\r\n\r\n",
    ],
    ids=["TLS", "bytes", "NUL", "length"],
)
async def test_malformed_http_is_answered_with_a_problem(lone_order: Served, request_: bytes) -> None:
    """400, in the format of all errors."""
    status, problem = await send_raw(lone_order, request_)
    assert status == b"HTTP/1.1 400 Bad Request"
    assert problem["status"] == 400


async def test_a_head_just_under_the_limit_is_served(lone_order: Served) -> None:
    """In several writes, and repeatedly on one connection: the limit applies to each head."""
    reader, writer = await asyncio.open_connection(HOST, lone_order.port)
    for _ in range(3):
        for piece in (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ", *[b"x" * 6_000] * 10, b"\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.001)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(b'{"status":"alive"}'))
    writer.close()


def placing(**changes: object) -> bytes:
    return json.dumps(ORDER | changes).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (DEEP, 400),
        (b'{"buyer":' * 6_000, 400),
        (b'"\xff\xfe"', 400),
        (b"", 400),
        (b"{", 400),
        (b"NaN", 422),
        (b'{"buyer": 1' + b"0" * 5_000 + b"}", 400),
        (placing(buyer={"name": "\ud800", "phoneNumber": "12345"}), 422),
        (placing(buyer={"name": "Kim\u0000", "phoneNumber": "12345"}), 422),
        (placing(buyer={"name": "x" * 101, "phoneNumber": "12345"}), 422),
        (placing(orderLines=[{"sku": "MUG", "name": "Mug", "quantity": 10**100, "unitPrice": 1}]), 422),
        (placing(orderLines=[{"sku": "MUG", "name": "Mug", "quantity": 1e308, "unitPrice": 1}]), 422),
        (placing(orderLines=[{"sku": "MUG", "name": "Mug", "quantity": True, "unitPrice": 1}]), 422),
        (placing(orderLines=[{"sku": "MUG", "name": "Mug", "quantity": "1", "unitPrice": 1}]), 422),
        (b"[" + b"1," * 40_000 + b"1]", 413),
    ],
)
async def test_a_body_that_is_not_an_order_is_rejected(lone_order: Served, body: bytes, status: int) -> None:
    """Deep nesting, out-of-range numbers, unencodable characters: 4xx, and nothing is stored."""
    answer = await lone_order.http.post("/orders", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)


@pytest.mark.parametrize(
    ("path", "content_type", "size"),
    [
        ("/events", BATCH["content-type"], 4_000_000),
        ("/api/routes/evaluate", "application/json", 4_000_000),
        ("/api/routes/explain", "application/json", 60_000),
        ("/api/routes/dry-run", "application/json", 60_000),
    ],
)
async def test_the_adapter_rejects_deeply_nested_bodies(
    adapter: Served, path: str, content_type: str, size: int
) -> None:
    """A batch may be larger than other bodies, which allows deeper nesting."""
    access = SERVICE if path == "/events" else OPERATOR
    for body in (b"[" * size, b'{"data":' * (size // 8)):
        answer = await adapter.http.post(path, content=body, headers={"content-type": content_type} | access)
        assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)


async def test_a_deeply_nested_event_fails_alone(adapter: Served) -> None:
    """It cannot be serialised for publication; the other events of the batch are decided."""
    deep = "[" * 900 + "]" * 900
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "order",
        "type": "OrderPlaced",
        "subject": "1",
        "time": "2021-07-17T23:59:59Z",
        "sequence": "1",
        "data": {"source": {"id": "1", "deep": json.loads(deep)}, "occurenceOn": 1},
    }
    answer = await adapter.http.post("/events", json=[event, event | {"id": "2"}], headers=BATCH)
    assert answer.status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
async def test_a_rejected_content_type_is_answered_with_the_expected_one(
    lone_order: Served, content_type: str
) -> None:
    """Among them curl's default."""
    answer = await lone_order.http.post(
        "/orders", content=json.dumps(ORDER), headers={"content-type": content_type}
    )
    assert answer.status_code == 415
    expected = f"The content type must be application/json, not {content_type}"
    assert answer.json()["detail"] == expected
