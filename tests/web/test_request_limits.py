"""G9: limits for clients without a token. Raw sockets, because HTTP clients do not misbehave."""

import asyncio
import json
import re
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import httpx
import psutil
import pytest

from local.ports import HOST
from shared.web import MAX_CONNECTIONS, MAX_REQUESTS
from tests.adapter.test_adapter import BATCH, event
from tests.order.test_api import ORDER
from tests.serving import SERVICE, Served, eventually

MEBIBYTE = 1024 * 1024


@asynccontextmanager
async def connected(service: Served, sent: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    """Open a connection and send some bytes."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        writer.write(sent)
        yield reader
    finally:
        writer.transport.abort()


async def answer_to(service: Served, sent: bytes, within: float = 5) -> tuple[int, bytes]:
    """Send bytes, which need not be a whole request, and return the status and the rest of the response."""
    async with connected(service, sent) as reader, asyncio.timeout(within):
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: ([0-9]+)\r\n", head)
        return int(head.split()[1]), head + await reader.readexactly(int(length))


def chunked(head: bytes, body: bytes, trailers: bytes) -> bytes:
    framed = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)
    return head + b"\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" + framed


@pytest.mark.parametrize(
    "endless",
    [
        b"0\r\n" + b"x-trailer: " + b"a" * 200 + b"\r\n",
        b"0\r\nx-trailer: a",
        b"1\r\nx\r\n0;extension=a",
    ],
    ids=["trailers", "trailer", "chunk extension"],
)
async def test_endless_trailers_are_rejected(lone_order: Served, endless: bytes) -> None:
    """431 after 64 KiB, in constant memory."""
    before = psutil.Process().memory_info().rss
    reader, writer = await asyncio.open_connection(HOST, lone_order.port)
    writer.write(b"POST /orders HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" + endless)
    line = endless.partition(b"\r\n")[2] if endless.endswith(b"\r\n") else b"a" * 200
    response = asyncio.ensure_future(reader.readuntil(b"\r\n"))
    sent = 0
    while not response.done() and sent < 100 * MEBIBYTE:
        writer.write(line * 200)
        sent += len(line) * 200
        await asyncio.wait({response}, timeout=0.01)
    writer.transport.abort()
    assert (await response) == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    assert psutil.Process().memory_info().rss - before < 50 * MEBIBYTE


async def test_a_trailer_is_not_a_header(lone_order: Served, scm: Served) -> None:
    """Neither Authorization nor Content-Type nor Idempotency-Key (RFC 9110, 6.5.1)."""
    count = b"PUT /back-office/stock/TRAILER HTTP/1.1\r\ncontent-type: application/json"
    token = b"authorization: " + SERVICE["authorization"].encode() + b"\r\n"
    status, _ = await answer_to(scm, chunked(count, b'{"onHand": 7}', token))
    assert status == 401
    order, place = json.dumps(ORDER).encode(), b"POST /orders HTTP/1.1"
    status, _ = await answer_to(lone_order, chunked(place, order, b"content-type: application/json\r\n"))
    assert status in (415, 422)
    keyed = chunked(place + b"\r\ncontent-type: application/json", order, b'idempotency-key: "trailer"\r\n')
    answers = [await answer_to(lone_order, keyed) for _ in range(2)]
    ids = {json.loads(answer.partition(b"\r\n\r\n")[2])["id"] for _, answer in answers}
    assert len(ids) == 2


WAITING = {
    "nothing": (b"", 0),
    "line breaks": (b"\r\n\r\n", 0),
    "half a head": (b"GET /orders HTTP/1.1\r\nhost: localhost\r\n", 408),
    "half a body": (
        b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 60000\r\n\r\n{",
        408,
    ),
    "half a chunk": (
        b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n5\r\n{",
        408,
    ),
    "half of an ignored body": (
        b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60000\r\n\r\n{",
        404,
    ),
    "a second request": (
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nhost",
        200,
    ),
    "nothing more": (b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n", 200),
}
"""Bytes of clients that then stay connected, and the status that they get, 0 for none."""


async def test_a_client_that_stops_sending_is_disconnected(lone_order: Served) -> None:
    """Wherever it stops, within half a minute, and with 408 in the middle of a request."""
    found = {}

    async def wait_for_end(name: str) -> None:
        async with connected(lone_order, WAITING[name][0]) as reader:
            found[name] = await reader.read()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name in WAITING:
            group.create_task(wait_for_end(name))
    statuses = {name: int(answer.split()[1]) if answer else 0 for name, answer in found.items()}
    assert statuses == {name: status for name, (_, status) in WAITING.items()}


async def test_a_client_that_sends_a_byte_at_a_time_is_disconnected(lone_order: Served) -> None:
    """The time is limited for the whole head and the whole body, not for each read."""

    async def trickle(start: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, lone_order.port)
        writer.write(start)
        response = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait({response}, timeout=0.2))[0]:
            writer.write(b"x")
        writer.transport.abort()
        return await response

    async with asyncio.timeout(30):
        answers = await asyncio.gather(
            trickle(b"GET /livez HTTP/1.1\r\nx: "), trickle(WAITING["half a body"][0])
        )
    assert [answer.split()[1] for answer in answers] == [b"408", b"408"]


async def test_a_client_that_does_not_read_is_disconnected(lone_order: Served) -> None:
    """Its responses do not stay in memory."""
    request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    reader, writer = await asyncio.open_connection(HOST, lone_order.port, limit=1024)
    writer.write(request * 1_000)
    port = writer.get_extra_info("sockname")[1]

    async def is_closed() -> bool:
        """Return whether the server's end of the connection is closed."""
        connections = psutil.Process().net_connections("tcp")
        return not any(each.raddr == (HOST, port) and each.status == "ESTABLISHED" for each in connections)

    await eventually(is_closed, within=40)
    writer.transport.abort()
    await reader.read()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Open files for both ends of many connections, which are in one process here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MAX_CONNECTIONS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_idle_connections_displace_no_request(lone_order: Served, many_files: None) -> None:
    """A new connection replaces the one that has waited longest for its client."""
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(connected(lone_order)) for _ in range(MAX_CONNECTIONS + 50)
        ]
        assert (await answer_to(lone_order, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"))[0] == 200

        async def closed() -> bool:
            return sum(reader.at_eof() or reader.exception() is not None for reader in readers) >= 50

        await eventually(closed)
        assert not readers[-1].at_eof()


@asynccontextmanager
async def locked_orders(database_url: str) -> AsyncIterator[None]:
    """Lock the table of orders, so that every request for one waits."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


async def test_excess_requests_are_rejected_at_once(lone_order: Served, lone_order_database: str) -> None:
    """503 with Retry-After; health checks are still answered, and so are the requests that were accepted."""
    request = b"GET /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    async with AsyncExitStack() as stack:
        async with locked_orders(lone_order_database):
            readers = [
                await stack.enter_async_context(connected(lone_order, request)) for _ in range(MAX_REQUESTS)
            ]

            async def is_rejected() -> bytes | None:
                status, answer = await answer_to(lone_order, request, within=1)
                return answer if status == 503 else None

            answer = await eventually(is_rejected)
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b"application/problem+json" in answer
            live = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
            ready = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n"
            assert (await answer_to(lone_order, live, within=1))[0] == 200
            assert (await answer_to(lone_order, ready, within=5))[0] in (200, 503)
        statuses = [(await reader.readuntil(b"\r\n")).split()[1] for reader in readers]
    assert statuses == [b"200"] * MAX_REQUESTS


async def test_requests_whose_body_is_missing_displace_no_other(lone_order: Served) -> None:
    """They are not among the requests that are served at a time."""
    async with AsyncExitStack() as stack:
        for _ in range(MAX_REQUESTS + 10):
            await stack.enter_async_context(connected(lone_order, WAITING["half a body"][0]))
        assert (await lone_order.http.post("/orders", json=ORDER)).status_code == 201


def headed(method: str, path: str, length: int, *headers: str) -> bytes:
    """Return the head of a request whose body never follows."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


JSON = "content-type: application/json"


async def test_a_token_is_checked_before_the_body_is_read(
    adapter: Served, console: Served, scm: Served
) -> None:
    """401 although no byte of the body was sent."""
    for service, method, path in [
        (adapter, "POST", "/events"),
        (adapter, "POST", "/api/routes/dry-run"),
        (adapter, "POST", "/api/routes/evaluate"),
        (console, "POST", "/api/replay"),
        (console, "POST", "/api/dead-letters/redrive"),
        (scm, "PUT", "/back-office/stock/MUG-01"),
        (scm, "PUT", "/back-office/supplies/MUG-01"),
    ]:
        status, _ = await answer_to(service, headed(method, path, 1_000, JSON))
        assert (path, status) == (path, 401)


async def test_only_a_batch_of_events_may_be_large(adapter: Served, lone_order: Served) -> None:
    """413 after the head for anything above 64 KiB but batches, which may have 8 MiB."""
    token = f"authorization: {SERVICE['authorization']}"
    for service, path, length, status in [
        (adapter, "/api/routes/explain", 64 * 1024 + 1, 413),
        (lone_order, "/orders", 64 * 1024 + 1, 413),
        (adapter, "/events", 8 * MEBIBYTE + 1, 413),
    ]:
        headers = (token, f"content-type: {BATCH['content-type']}") if path == "/events" else (JSON,)
        assert (await answer_to(service, headed("POST", path, length, *headers)))[0] == status
    large = json.dumps([event(), "x" * 7 * MEBIBYTE])
    assert (await adapter.http.post("/events", content=large, headers=BATCH)).status_code == 200


async def test_large_bodies_without_a_token_cost_no_memory(adapter: Served) -> None:
    """Sixteen of 7 MiB at once, for an endpoint that is public and for one that is not."""
    before = psutil.Process().memory_info().rss
    body = b"x" * 7 * MEBIBYTE

    async def post(path: str) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 65_536):
                yield body[start : start + 65_536]

        headers = {"content-type": "application/json", "content-length": str(len(body))}
        try:
            return (await adapter.http.post(path, content=pieces(), headers=headers)).status_code
        except httpx.WriteError:
            return 413

    answers = await asyncio.gather(*(post(path) for path in ["/api/routes/explain", "/events"] * 8))
    assert set(answers) <= {401, 413}
    assert psutil.Process().memory_info().rss - before < 50 * MEBIBYTE


async def test_a_page_of_large_orders_ends_early(lone_order: Served) -> None:
    """Its size is limited, and the next page continues with the next order."""
    line = {"sku": "MUG", "name": "\u00e9" * 100, "quantity": 1, "unitPrice": 1}
    ids = [
        (await lone_order.http.post("/orders", json=ORDER | {"orderLines": [line] * 100})).json()["id"]
        for _ in range(40)
    ]
    page = await lone_order.http.get("/orders?limit=200")
    assert len(page.content) < MEBIBYTE
    found = [each["id"] for each in page.json()]
    while len(found) < len(ids):
        page = await lone_order.http.get(page.links["next"]["url"])
        found += [each["id"] for each in page.json()]
    assert found[: len(ids)] == ids[::-1]
