"""Idempotency-Key: whatever is sent again, and however it is sent again, happens once."""

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

END_THE_APPEND = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO event_log%'
"""


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def same(first: httpx.Response, second: httpx.Response) -> bool:
    told = ("content-type", "etag", "location", "content-length")
    return (first.status_code, first.content) == (second.status_code, second.content) and all(
        first.headers.get(name) == second.headers.get(name) for name in told
    )


async def versions(order: Served, order_id: str) -> list[int]:
    history = (await order.http.get(f"/orders/{order_id}/events")).json()["published"]
    return [event["version"] for event in history]


async def test_an_order_that_is_sent_twice_is_placed_once(lone_order: Served) -> None:
    """The second answer is the first one, with its ETag and its Location, also when the order is a newer
    one by then."""
    headers = key()
    first = await lone_order.http.post("/orders", json=ORDER, headers=headers)
    assert first.status_code == 201
    await lone_order.http.post(f"{first.headers['location']}/complete")
    assert same(first, await lone_order.http.post("/orders", json=ORDER, headers=headers))
    assert await versions(lone_order, first.json()["id"]) == [1, 2]


@pytest.mark.parametrize(("method", "command", "body"), COMMANDS)
async def test_a_command_that_is_sent_twice_is_done_once(
    lone_order: Served, method: str, command: str, body: Any
) -> None:
    """Every command; If-Match, which no longer holds the second time, is not asked again."""
    order_id = await place(lone_order)
    headers = {**key(), "if-match": '"1"'}
    first, second = [
        await lone_order.http.request(method, f"/orders/{order_id}/{command}", json=body, headers=headers)
        for _ in range(2)
    ]
    assert first.status_code == 200
    assert same(first, second)
    assert await versions(lone_order, order_id) == [1, 2]


async def test_the_same_order_spelled_another_way_is_the_same(lone_order: Served) -> None:
    """Neither white space nor the order of the members makes another request, nor do the key's quotes."""
    quoted = {"idempotency-key": f'"{uuid.uuid4()}"'}
    bare = {"idempotency-key": quoted["idempotency-key"].strip('"'), "content-type": "application/json"}
    first = await lone_order.http.post("/orders", json=ORDER, headers=quoted)
    spelled = json.dumps(dict(reversed(ORDER.items())), indent=4)
    assert same(first, await lone_order.http.post("/orders", content=spelled, headers=bare))


async def test_a_key_stands_for_one_request(lone_order: Served) -> None:
    """422 for another body, another order and another command; none of them is done."""
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


async def test_a_refusal_is_remembered(lone_order: Served) -> None:
    """What the order said stays said: the 409 names the status of then."""
    path = f"/orders/{await place(lone_order)}"
    await lone_order.http.post(f"{path}/complete")
    headers = key()
    first = await lone_order.http.post(f"{path}/complete", headers=headers)
    assert (first.status_code, first.headers["content-type"]) == (409, PROBLEM)
    await lone_order.http.post(f"{path}/cancel")
    assert same(first, await lone_order.http.post(f"{path}/complete", headers=headers))


async def test_what_never_reached_the_order_leaves_the_key_free(lone_order: Served) -> None:
    """Malformed, unknown, or a version that does not match: put right, it may be sent under its key."""
    path, headers = f"/orders/{await place(lone_order)}", key()
    http = lone_order.http
    assert (await http.put(f"{path}/memo", json={}, headers=headers)).status_code == 422
    assert (await http.post("/orders/20210717235959000000/complete", headers=headers)).status_code == 404
    stale = {**headers, "if-match": '"7"'}
    assert (await http.put(f"{path}/memo", json={"memo": "one"}, headers=stale)).status_code == 412
    assert (await http.put(f"{path}/memo", json={"memo": "one"}, headers=headers)).status_code == 200


async def test_orders_sent_at_once_under_one_key_are_one(
    lone_order: Served, lone_order_database: str
) -> None:
    """All get the one answer. The table is locked until the first has its key and the others wait for it."""
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


async def test_what_failed_here_may_be_sent_again(lone_order: Served, lone_order_database: str) -> None:
    """Its transaction took the key back with it."""
    headers = key()
    async with locked(lone_order_database, "event_log"):
        sent = asyncio.create_task(lone_order.http.post("/orders", json=ORDER, headers=headers))
        async with asyncpg.create_pool(lone_order_database, min_size=1, max_size=1) as admin:
            await eventually(lambda: admin.fetchval(END_THE_APPEND))
        assert (await sent).status_code == 503
    assert (await lone_order.http.post("/orders", json=ORDER, headers=headers)).status_code == 201


@pytest.mark.parametrize("bad", ["", '""', "two words", "x" * 256, "k\xe9y", '"', 'a"b'])
async def test_what_is_no_key_is_refused(lone_order: Served, bad: str) -> None:
    """400 that says what a key is; nothing is done."""
    answer = await lone_order.http.post(
        "/orders", json=ORDER, headers={b"idempotency-key": bad.encode("latin-1")}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert "1 to 255 visible characters" in answer.json()["detail"]


async def test_two_keys_are_none(lone_order: Served) -> None:
    """400: nobody can say which of them is meant."""
    answer = await lone_order.http.post("/orders", json=ORDER, headers=[*key().items(), *key().items()])
    assert answer.status_code == 400


async def test_keys_are_forgotten_after_their_days(order_database: str, aws_url: str) -> None:
    """IDEMPOTENCY_RETENTION_DAYS, 7 unless told otherwise; the running service sweeps."""
    async with connect(order_database, ApplicationEventPublisher()) as database:
        await _keep(database, "old", days=8)
        await _keep(database, "young", days=6)
        settings = Settings(environment="development", database_url=order_database, aws_endpoint_url=aws_url)
        async with serving(create_app(settings)):
            await eventually(lambda: _are_kept(database, "young"))
    assert idempotency_keys(30).days == 30


async def _keep(database: Database, name: str, *, days: int) -> None:
    await run(
        database,
        "INSERT INTO idempotency_key VALUES ($1, '', 200, '{}', '', now() - make_interval(days => $2))",
        name,
        days,
    )


async def _are_kept(database: Database, *names: str) -> bool:
    return [row["key"] for row in await run(database, "SELECT key FROM idempotency_key")] == list(names)
