"""Idempotency-Key: a repeated request has one effect and gets the first response."""

import asyncio
import json
import uuid
from typing import Any

import asyncpg
import httpx
import pytest
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, connect

from services.order.idempotency import idempotency_keys
from services.order.main import create_app
from services.order.settings import Settings
from tests.order.test_api import ORDER, PROBLEM, place
from tests.order.test_conditions import COMMANDS
from tests.serving import Served, eventually, serving
from tests.snsqs.relays import locked, run

WAITING_FOR_THE_KEY = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO idempotency_key%'
"""

TERMINATE_APPEND = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO event_log%'
"""


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def same(first: httpx.Response, second: httpx.Response) -> bool:
    compared = ("content-type", "etag", "location", "content-length")
    return (first.status_code, first.content) == (second.status_code, second.content) and all(
        first.headers.get(name) == second.headers.get(name) for name in compared
    )


async def versions(order: Served, order_id: str) -> list[int]:
    history = (await order.http.get(f"/orders/{order_id}/events")).json()["published"]
    return [event["version"] for event in history]


async def test_an_order_sent_twice_is_placed_once(lone_order: Served) -> None:
    """The first response is repeated, with its ETag and Location, although the order has changed since."""
    headers = key()
    first = await lone_order.http.post("/orders", json=ORDER, headers=headers)
    assert first.status_code == 201
    await lone_order.http.post(f"{first.headers['location']}/complete")
    assert same(first, await lone_order.http.post("/orders", json=ORDER, headers=headers))
    assert await versions(lone_order, first.json()["id"]) == [1, 2]


@pytest.mark.parametrize(("method", "command", "body"), COMMANDS)
async def test_a_command_sent_twice_runs_once(
    lone_order: Served, method: str, command: str, body: Any
) -> None:
    """Every command; If-Match, which no longer matches the second time, is not evaluated again."""
    order_id = await place(lone_order)
    headers = {**key(), "if-match": '"1"'}
    first, second = [
        await lone_order.http.request(method, f"/orders/{order_id}/{command}", json=body, headers=headers)
        for _ in range(2)
    ]
    assert first.status_code == 200
    assert same(first, second)
    assert await versions(lone_order, order_id) == [1, 2]


async def test_another_formatting_of_the_body_is_the_same_request(lone_order: Served) -> None:
    """White space, the order of members and the key's quotes make no difference."""
    quoted = {"idempotency-key": f'"{uuid.uuid4()}"'}
    bare = {"idempotency-key": quoted["idempotency-key"].strip('"'), "content-type": "application/json"}
    first = await lone_order.http.post("/orders", json=ORDER, headers=quoted)
    reformatted = json.dumps(dict(reversed(ORDER.items())), indent=4)
    assert same(first, await lone_order.http.post("/orders", content=reformatted, headers=bare))


async def test_a_key_stands_for_one_request(lone_order: Served) -> None:
    """422 for another body, another order and another command; none of them runs."""
    order_id, another = await place(lone_order), await place(lone_order)
    headers = key()
    first = await lone_order.http.put(f"/orders/{order_id}/memo", json={"memo": "one"}, headers=headers)
    for method, path, body in [
        ("PUT", f"/orders/{order_id}/memo", {"memo": "two"}),
        ("PUT", f"/orders/{another}/memo", {"memo": "one"}),
        ("POST", f"/orders/{order_id}/complete", None),
        ("POST", "/orders", ORDER),
    ]:
        answer = await lone_order.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
        assert "used for another request" in answer.json()["detail"]
    assert await versions(lone_order, order_id) == [1, 2]
    assert await versions(lone_order, another) == [1]
    answer = await lone_order.http.put(f"/orders/{order_id}/memo", json={"memo": "one"}, headers=headers)
    assert same(first, answer)


async def test_a_conflict_is_stored(lone_order: Served) -> None:
    """The 409 is repeated, with the status at the first request."""
    path = f"/orders/{await place(lone_order)}"
    await lone_order.http.post(f"{path}/complete")
    headers = key()
    first = await lone_order.http.post(f"{path}/complete", headers=headers)
    assert (first.status_code, first.headers["content-type"]) == (409, PROBLEM)
    await lone_order.http.post(f"{path}/cancel")
    assert same(first, await lone_order.http.post(f"{path}/complete", headers=headers))


async def test_a_request_that_did_not_reach_the_order_leaves_the_key_free(lone_order: Served) -> None:
    """Malformed, unknown, or at another version: corrected, it may be sent with the same key."""
    path, headers = f"/orders/{await place(lone_order)}", key()
    http = lone_order.http
    assert (await http.put(f"{path}/memo", json={}, headers=headers)).status_code == 422
    assert (await http.post("/orders/20210717235959000000/complete", headers=headers)).status_code == 404
    stale = {**headers, "if-match": '"7"'}
    assert (await http.put(f"{path}/memo", json={"memo": "one"}, headers=stale)).status_code == 412
    assert (await http.put(f"{path}/memo", json={"memo": "one"}, headers=headers)).status_code == 200


async def test_concurrent_orders_with_one_key_are_placed_once(
    lone_order: Served, lone_order_database: str
) -> None:
    """All get the same response. A table lock holds the first until the others wait for its key."""
    headers = key()
    async with connect(lone_order_database, ApplicationEventPublisher()) as database:
        before = await _orders(database)

        async def all_wait() -> bool:
            [[waiting]] = await run(database, WAITING_FOR_THE_KEY)
            return int(waiting) == 4

        async with locked(lone_order_database, "event_log"):
            sent = [
                asyncio.create_task(lone_order.http.post("/orders", json=ORDER, headers=headers))
                for _ in range(5)
            ]
            await eventually(all_wait)
        answers = await asyncio.gather(*sent)
        assert await _orders(database) == before + 1
    assert answers[0].status_code == 201
    assert all(same(answers[0], answer) for answer in answers)


async def _orders(database: Database) -> int:
    [[orders]] = await run(database, "SELECT count(*) FROM orders")
    return int(orders)


async def test_a_request_that_failed_internally_may_be_repeated(
    lone_order: Served, lone_order_database: str
) -> None:
    """Its key was rolled back with the transaction."""
    headers = key()
    async with locked(lone_order_database, "event_log"):
        sent = asyncio.create_task(lone_order.http.post("/orders", json=ORDER, headers=headers))
        async with asyncpg.create_pool(lone_order_database, min_size=1, max_size=1) as admin:
            await eventually(lambda: admin.fetchval(TERMINATE_APPEND))
        assert (await sent).status_code == 503
    assert (await lone_order.http.post("/orders", json=ORDER, headers=headers)).status_code == 201


@pytest.mark.parametrize("bad", ["", '""', "two words", "x" * 256, "k\xe9y", '"', 'a"b'])
async def test_a_malformed_key_is_rejected(lone_order: Served, bad: str) -> None:
    """400 with the form of a key; the command does not run."""
    answer = await lone_order.http.post(
        "/orders", json=ORDER, headers={b"idempotency-key": bad.encode("latin-1")}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert "1 to 255 visible characters" in answer.json()["detail"]


async def test_two_keys_are_rejected(lone_order: Served) -> None:
    """400: it is ambiguous."""
    answer = await lone_order.http.post("/orders", json=ORDER, headers=[*key().items(), *key().items()])
    assert answer.status_code == 400


async def test_keys_expire(order_database: str, aws_url: str) -> None:
    """After IDEMPOTENCY_RETENTION_DAYS, 7 by default; the running service deletes them."""
    async with connect(order_database, ApplicationEventPublisher()) as database:
        await _insert(database, "old", days=8)
        await _insert(database, "young", days=6)
        settings = Settings(environment="development", database_url=order_database, aws_endpoint_url=aws_url)
        async with serving(create_app(settings)):
            await eventually(lambda: _are_stored(database, "young"))
    assert idempotency_keys(30).days == 30


async def _insert(database: Database, name: str, *, days: int) -> None:
    await run(
        database,
        "INSERT INTO idempotency_key VALUES ($1, '', 200, '{}', '', now() - make_interval(days => $2))",
        name,
        days,
    )


async def _are_stored(database: Database, *names: str) -> bool:
    return [row["key"] for row in await run(database, "SELECT key FROM idempotency_key")] == list(names)
