"""Relay between a real event log and an adapter that fails in every way."""

import asyncio
import json

import asyncpg
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import EventLog, Relay
from snsqs.postgres import Database

from local.ports import HOST, free_ports
from services.order.events import OrderPlaced
from services.order.order import Order, PlaceOrder
from tests.order.test_api import ORDER
from tests.serving import Served, eventually, serving
from tests.snsqs.relays import (
    Adapter,
    Batch,
    all_decided,
    append,
    locked,
    log_of,
    relaying,
    result,
    run,
)


async def append_and_fail(database: Database) -> None:
    order = Order.placed("20210717235959000001", PlaceOrder.model_validate(ORDER))
    async with database.transaction() as tx:
        await tx.publish(OrderPlaced(source=order))
        raise RuntimeError


async def test_an_event_is_relayed_on_commit(
    database: Database, event_log: EventLog, fake: tuple[Adapter, str]
) -> None:
    """The commit wakes the relay, long before its next poll; the row has the decision."""
    adapter, url = fake
    async with relaying(database, url, event_log=event_log, poll_interval=60):
        await append(
            database, 1, "20210717235959000002"
        )  # so that it waits for its next poll when the second one is appended
        await eventually(lambda: all_decided(database, "20210717235959000002"))
        await append(database)
        await eventually(lambda: all_decided(database))
    [event] = await log_of(database)
    assert (event.decision, event.rule, event.attempts, event.last_error) == ("held_back", "a-rule", 1, None)
    assert event.relayed_at is not None
    [_, [sent]] = adapter.batches
    assert sent["type"] == "OrderPlaced"
    assert (sent["source"], sent["subject"], sent["sequence"]) == ("order", "20210717235959000000", "1")
    assert set(sent["data"]) == {"source", "occurenceOn"}


async def test_a_rolled_back_event_is_not_relayed(database: Database, fake: tuple[Adapter, str]) -> None:
    """G2: a command that failed leaves no event."""
    adapter, url = fake
    async with relaying(database, url):
        with pytest.raises(RuntimeError):
            await append_and_fail(database)
        await append(database)
        await eventually(lambda: all_decided(database))
    assert len(adapter.ids) == 1


async def test_events_wait_while_the_adapter_is_away_and_flow_when_it_returns(database: Database) -> None:
    """G8: without intervention, and no attempt is counted."""
    [port] = free_ports(1)
    adapter = Adapter()
    async with relaying(database, f"http://{HOST}:{port}") as relay:
        await append(database, 3)
        await eventually(lambda: is_degraded(relay))
        assert (await relay.backlog()).waiting == 3
        async with serving(adapter.app, port):
            await eventually(lambda: all_decided(database))
            await eventually(lambda: is_well(relay))
    assert [event.attempts for event in await log_of(database)] == [1, 1, 1]


async def is_well(relay: Relay) -> bool:
    return relay.degraded_reason is None


@pytest.mark.parametrize(
    "garbage",
    [
        Response(status_code=502),
        Response("not gzip", headers={"content-encoding": "gzip"}),
        Response("<html>", media_type="text/html"),
        JSONResponse({"results": "none"}),
        JSONResponse({"results": [{"id": "x", "decision": "maybe"}]}),
        Response(status_code=302, headers={"location": "/"}),
    ],
)
async def test_an_invalid_response_decides_nothing(
    database: Database, fake: tuple[Adapter, str], garbage: Response
) -> None:
    """The events are sent again until there is a valid response."""
    adapter, url = fake
    adapter.answer = lambda batch: garbage if len(adapter.batches) < 3 else adapter.held_back(batch)
    async with relaying(database, url):
        await append(database, 2)
        await eventually(lambda: all_decided(database))
    assert len(adapter.batches) == 3


async def test_a_decision_without_a_time_is_invalid(database: Database, fake: tuple[Adapter, str]) -> None:
    """The relay's clock is not that of the decision."""
    adapter, url = fake

    def undated(batch: Batch) -> Response:
        return JSONResponse({"results": [{"id": event["id"], "decision": "held_back"} for event in batch]})

    adapter.answer = lambda batch: undated(batch) if len(adapter.batches) < 2 else adapter.held_back(batch)
    async with relaying(database, url):
        await append(database)
        await eventually(lambda: all_decided(database))
    assert len(adapter.batches) == 2


async def test_a_slow_adapter_is_retried(database: Database, fake: tuple[Adapter, str]) -> None:
    """`publish_timeout` limits the time for which a batch is claimed."""
    adapter, url = fake

    async def slow_once(batch: Batch) -> Response:
        if len(adapter.batches) == 1:
            await asyncio.sleep(2)
        return adapter.held_back(batch)

    adapter.answer = slow_once
    async with relaying(database, url, publish_timeout=0.3):
        await append(database)
        await eventually(lambda: all_decided(database))
    assert len(adapter.batches) >= 2


async def test_one_failed_event_waits_and_the_others_do_not(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """G5: it is retried later, with its error on the row; the others are decided at once."""
    adapter, url = fake

    adapter.fail(lambda event: event["sequence"] == "2" and len(adapter.batches) == 1)
    async with relaying(database, url):
        await append(database, 3)
        await eventually(lambda: _decided(database, 2))
        bad = (await log_of(database))[1]
        assert (bad.decision, bad.attempts, bad.last_error) == (None, 1, "SNS said no")
        await eventually(lambda: all_decided(database))
    assert [event.attempts for event in await log_of(database)] == [1, 2, 1]


async def _decided(database: Database, count: int) -> bool:
    return sum(event.decision is not None for event in await log_of(database)) >= count


async def test_an_event_without_a_result_is_sent_again(database: Database, fake: tuple[Adapter, str]) -> None:
    """A missing result counts as a failure."""
    adapter, url = fake

    def omit(batch: Batch) -> Response:
        return adapter.held_back(batch[: 1 if len(adapter.batches) == 1 else None])

    adapter.answer = omit
    async with relaying(database, url):
        await append(database, 2)
        await eventually(lambda: all_decided(database))
    assert [event.attempts for event in await log_of(database)] == [1, 2]


@pytest.mark.parametrize(("status", "reason"), [(422, "422: no thirteen"), (500, "HTTP 500")])
async def test_a_batch_is_halved_until_the_bad_event_is_alone(
    database: Database, fake: tuple[Adapter, str], status: int, reason: str
) -> None:
    """G5: one event for which the adapter rejects the batch, or fails on it, does not block the others."""
    adapter, url = fake

    def fails_on_thirteen(batch: Batch) -> Response:
        if any(event["sequence"] == "13" for event in batch):
            return Response("no thirteen", status_code=status)
        return adapter.held_back(batch)

    adapter.answer = fails_on_thirteen
    await append(database, 20)
    async with relaying(database, url):
        await eventually(lambda: _decided(database, 19))
    [bad] = [event for event in await log_of(database) if event.decision is None]
    assert bad.version == 13
    assert reason in str(bad.last_error)


@pytest.mark.parametrize("data", ["[]", '{"source": "\\ud800"}', '{"source": 1e400}'])
async def test_a_row_that_is_no_domain_event_does_not_block_others(
    database: Database, fake: tuple[Adapter, str], data: str
) -> None:
    """G5: it is sent as it is, and the adapter's error is on the row, without U+0000."""
    adapter, url = fake
    received: list[str] = []

    def reject_other(batch: Batch) -> Response:
        received.extend(json.dumps(event["data"]) for event in batch)
        return JSONResponse(
            {
                "results": [
                    result(event) | {"rule": "a\0rule"}
                    if isinstance(event["data"], dict) and "occurenceOn" in event["data"]
                    else result(event, "failed", error="no\0event")
                    for event in batch
                ]
            }
        )

    adapter.answer = reject_other
    await append(database, 3)
    await run(database, "UPDATE event_log SET data = $1 WHERE sequence = 2", data)
    async with relaying(database, url):
        await eventually(lambda: _decided(database, 2))
    first, bad, _ = await log_of(database)
    assert (first.rule, bad.decision, bad.last_error) == ("a\ufffdrule", None, "no\ufffdevent")
    assert json.dumps(json.loads(data)) in received


async def test_the_relay_backs_off_while_the_adapter_is_not_ready(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """G8: SNS is unavailable and every event fails; the relay reports it, and does not try the whole log."""
    adapter, url = fake
    adapter.is_ready = False
    adapter.fail(lambda _: True)
    await append(database, 50)
    async with relaying(database, url, batch_size=10) as relay:
        await eventually(lambda: is_degraded(relay))
        assert relay.degraded_reason == f"adapter at {url} is not ready: SNS said no"
        assert len(adapter.batches) <= 2
        adapter.is_ready, adapter.answer = True, adapter.held_back
        await eventually(lambda: all_decided(database))
    assert {event.attempts for event in await log_of(database)} == {1}


async def test_several_relays_share_the_log_without_doubling(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """SKIP LOCKED: each event is sent once, although four relays claim events."""
    adapter, url = fake
    await append(database, 200)
    async with (
        relaying(database, url, batch_size=7),
        relaying(database, url, batch_size=7),
        relaying(database, url, batch_size=7),
        relaying(database, url, batch_size=7),
    ):
        await eventually(lambda: all_decided(database))
    assert len(adapter.ids) == len(set(adapter.ids)) == 200


async def test_a_batch_is_bounded_in_bytes(database: Database, fake: tuple[Adapter, str]) -> None:
    """Events over the limit are left to the next batch; a single event over the limit is sent alone."""
    adapter, url = fake
    await append(database, 6)
    async with relaying(database, url, max_batch_bytes=1_500):
        await eventually(lambda: all_decided(database))
    assert 1 < len(adapter.batches) < 7
    assert len(adapter.ids) == 6


async def test_the_relay_goes_on_when_postgresql_ends_its_connections(
    database: Database, event_log: EventLog, fake: tuple[Adapter, str]
) -> None:
    """Events appended afterwards are relayed."""
    _, url = fake
    async with relaying(database, url, event_log=event_log, poll_interval=60):
        await append(database)
        await eventually(lambda: all_decided(database))
        async with database.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await append(database, 1, "20210717235959000002")
        await eventually(lambda: all_decided(database, "20210717235959000002"))


async def test_a_database_that_is_slow_is_waited_for(
    database: Database, order_database: str, fake: tuple[Adapter, str]
) -> None:
    """A claim that times out is retried; it does not end the service."""
    _, url = fake
    async with asyncpg.create_pool(order_database, command_timeout=2) as pool:
        impatient = Database(pool, ApplicationEventPublisher())
        async with relaying(impatient, url) as relay:
            async with locked(order_database, "event_log"):
                await eventually(lambda: is_degraded(relay))
                assert "TimeoutError" in str(relay.degraded_reason)
            await append(database)
            await eventually(lambda: all_decided(database))


async def is_degraded(relay: Relay) -> bool:
    return relay.degraded_reason is not None


async def test_an_event_and_its_order_are_one_transaction(order: Served, order_database: str) -> None:
    """PostgreSQL closes the connection between the inserts of order and event: neither remains."""
    blocker = await asyncpg.connect(order_database)
    admin = await asyncpg.connect(order_database)
    try:
        lock = blocker.transaction()
        await lock.start()
        await blocker.execute("LOCK TABLE event_log IN ACCESS EXCLUSIVE MODE")
        placing = asyncio.create_task(order.http.post("/orders", json=ORDER))

        async def waits_for_the_event_log() -> int | None:
            pid: int | None = await admin.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT%'"
            )
            return pid

        pid = await eventually(waits_for_the_event_log)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        answer = await placing
        await lock.rollback()
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert await admin.fetchval("SELECT count(*) FROM orders") == 0
        assert await admin.fetchval("SELECT count(*) FROM event_log") == 0
    finally:
        await blocker.close()
        await admin.close()
    assert (await order.http.post("/orders", json=ORDER)).status_code == 201
