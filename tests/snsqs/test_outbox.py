"""Outbox: several relays on one log, failing events, parked events, resubmission."""

import asyncio
import uuid
from typing import Any

from fastapi import Response
from prometheus_client import generate_latest
from snsqs.outbox import Backlog, EventLog, LoggedEvent, ParkedEvent, parked_events, read_backlog, resubmit
from snsqs.postgres import Database

from local.ports import HOST, free_ports
from services.adapter.main import create_app as create_adapter
from services.adapter.settings import Settings as AdapterSettings
from services.order.events import OrderCompleted
from services.order.main import create_app
from services.order.settings import Settings
from shared.operations.event_log_api import router
from shared.runtime.telemetry import export_metrics
from shared.web import components
from tests.order.test_api import ORDER
from tests.serving import calling, eventually, serving
from tests.snsqs.relays import ORDER_ID, Adapter, Batch, all_decided, append, log_of, relaying, run

ANOTHER_ID = "20210717235959000001"
UNREACHABLE = f"http://{HOST}:1"


async def parked_in(database: Database) -> list[ParkedEvent]:
    async with database.connection() as connection:
        return await parked_events(connection)


async def backlog_of(database: Database) -> Backlog:
    async with database.connection() as connection:
        return await read_backlog(connection)


def is_second(event: dict[str, Any]) -> bool:
    return bool(event["sequence"] == "2")


async def test_a_relay_whose_adapter_hangs_does_not_hold_up_the_others(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """They skip its claims, and no event is sent twice."""
    slow, (quick, url) = Adapter(), fake
    goes_on = asyncio.Event()

    async def hang(batch: Batch) -> Response:
        await goes_on.wait()
        return slow.held_back(batch)

    async def has_claimed() -> bool:
        return bool(slow.batches)

    async def rest_is_decided() -> bool:
        return sum(event.decision is not None for event in await log_of(database)) == 30 - 7

    slow.answer = hang
    await append(database, 30)
    async with serving(slow.app) as served, relaying(database, served.url, batch_size=7, publish_timeout=60):
        await eventually(has_claimed)
        async with relaying(database, url, batch_size=7):
            await eventually(rest_is_decided)
            goes_on.set()
            await eventually(lambda: all_decided(database))
    assert len(slow.ids + quick.ids) == len(set(slow.ids + quick.ids)) == 30


async def test_a_relay_whose_adapter_is_away_does_not_hold_up_the_others(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """Its claims are released at once, and no attempt is counted."""
    _, url = fake
    async with relaying(database, UNREACHABLE) as failing:
        await append(database, 30)

        async def has_failed() -> bool:
            return failing.degraded_reason is not None

        await eventually(has_failed)
        async with relaying(database, url):
            await eventually(lambda: all_decided(database))
            await append(database, 30, ANOTHER_ID)
            await eventually(lambda: all_decided(database, ANOTHER_ID))
    assert {event.attempts for event in await log_of(database)} == {1}


async def test_events_that_fail_all_the_time_do_not_keep_new_ones_waiting(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """With 300 failed events that have been due for an hour and five new ones, the first batch of ten has all
    of the new ones."""
    adapter, url = fake
    adapter.fail(lambda event: bool(event["subject"] == ORDER_ID))
    await append(database, 300)
    await run(database, "UPDATE event_log SET attempts = 3, next_attempt_at = now() - interval '1 hour'")
    await append(database, 5, ANOTHER_ID)
    async with relaying(database, url, batch_size=10):
        await eventually(lambda: all_decided(database, ANOTHER_ID))
    assert [event["subject"] for event in adapter.batches[0]] == [ANOTHER_ID] * 5 + [ORDER_ID] * 5


async def test_the_delay_grows_with_every_failure(database: Database, fake: tuple[Adapter, str]) -> None:
    """Drawn from 2 s after the first failure, from twice as much after each further one, at most 60 s."""
    adapter, url = fake
    adapter.fail(lambda event: True)
    await append(database, 20)
    await append(database, 20, ANOTHER_ID)
    await run(database, "UPDATE event_log SET attempts = 9 WHERE subject = $1", ANOTHER_ID)
    [[began]] = await run(database, "SELECT clock_timestamp()")

    async def all_tried() -> bool:
        return not await run(database, "SELECT FROM event_log WHERE last_error IS NULL")

    async with relaying(database, url, poll_interval=60):
        await eventually(all_tried)
    [[ended]] = await run(database, "SELECT clock_timestamp()")
    tried = await run(database, "SELECT attempts, next_attempt_at FROM event_log")
    for attempts, due in tried:
        assert began <= due
        assert (due - ended).total_seconds() <= min(60, 2 * 2 ** (attempts - 1))
    assert max((due - ended).total_seconds() for attempts, due in tried if attempts >= 10) > 4


async def test_an_event_that_fails_too_often_is_parked(database: Database, fake: tuple[Adapter, str]) -> None:
    """Its attempts, error and time remain; it no longer counts as waiting but as parked."""
    adapter, url = fake
    adapter.fail(is_second)
    async with relaying(database, url, max_attempts=2) as relay:
        await append(database, 3)
        [event] = await eventually(lambda: parked_in(database))
        export_metrics()
        await relay.measure()
    history = await log_of(database)
    assert [(each.decision, each.attempts) for each in history] == [
        ("held_back", 1),
        (None, 2),
        ("held_back", 1),
    ]
    assert (event.id, event.attempts, event.last_error) == (history[1].id, 2, "SNS said no")
    assert history[1].parked_at == event.parked_at
    assert history[1].model_dump(mode="json", by_alias=True)["parkedAt"] is not None
    found = await backlog_of(database)
    assert (found.waiting, found.oldest_seconds, found.parked) == (0, 0, 1)
    assert "outbox_events_parked 1.0" in generate_latest().decode()


async def test_a_parked_event_does_not_block_others(database: Database, fake: tuple[Adapter, str]) -> None:
    """It is not sent again, while later events are relayed."""
    adapter, url = fake
    adapter.fail(is_second)
    async with relaying(database, url, max_attempts=1):
        await append(database, 2)
        [event] = await eventually(lambda: parked_in(database))
        await append(database, 1, ANOTHER_ID)
        await eventually(lambda: all_decided(database, ANOTHER_ID))
        await append(database, 1, "20210717235959000002")
        await eventually(lambda: all_decided(database, "20210717235959000002"))
    assert adapter.ids.count(str(event.id)) == 1


async def test_a_resubmitted_event_leaves_at_once(
    database: Database, order_database: str, event_log: EventLog, fake: tuple[Adapter, str]
) -> None:
    """The commit wakes the relay, long before its next poll."""
    adapter, url = fake
    adapter.fail(is_second)
    app = create_app(Settings(database_url=order_database, environment="development"))
    components(app).add(database, event_log)
    app.include_router(router)
    async with (
        relaying(database, url, event_log=event_log, max_attempts=1, poll_interval=60),
        calling(app) as operator,
    ):
        await append(database, 2)
        [event] = await eventually(lambda: parked_in(database))
        adapter.answer = adapter.held_back
        answer = await operator.post("/parked/resubmit", json={"all": True})
        assert answer.json() == {"ids": [str(event.id)]}
        await eventually(lambda: all_decided(database))
    assert await parked_in(database) == []
    assert [each.parked_at for each in await log_of(database)] == [None, None]


async def test_a_resubmitted_event_has_all_its_attempts_again(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """If it keeps failing, it is parked again after the same number of attempts."""
    adapter, url = fake
    adapter.fail(is_second)

    async def parked_after(sent: int) -> ParkedEvent | None:
        found = await parked_in(database)
        return found[0] if found and adapter.ids.count(str(found[0].id)) == sent else None

    async with relaying(database, url, max_attempts=2):
        await append(database, 2)
        event = await eventually(lambda: parked_after(2))
        async with database.transaction() as tx:
            await resubmit(tx.connection, [event.id])
        again = await eventually(lambda: parked_after(4))
    assert again.attempts == 2


async def test_only_parked_events_are_resubmitted(database: Database, fake: tuple[Adapter, str]) -> None:
    """Decided and unknown ids are skipped; a rollback leaves the event parked."""
    adapter, url = fake
    adapter.fail(is_second)
    async with relaying(database, url, max_attempts=1):
        await append(database, 2)
        await eventually(lambda: parked_in(database))
    decided, failed = await log_of(database)
    async with database.connection() as connection:
        assert await resubmit(connection, [decided.id, uuid.uuid4()]) == []
        tx = connection.transaction()
        await tx.start()
        assert await resubmit(connection, [decided.id, failed.id]) == [failed.id]
        await tx.rollback()
    assert await log_of(database) == [decided, failed]


async def test_no_event_is_parked_while_the_adapter_is_not_ready(
    database: Database, fake: tuple[Adapter, str]
) -> None:
    """G8: while SNS is unavailable the adapter answers every event as failed. No attempt is counted, however
    long that lasts, and all events leave once it is ready."""
    adapter, url = fake
    adapter.fail(lambda event: True)
    adapter.is_ready = False

    async def tried_often() -> bool:
        return len(adapter.batches) >= 5

    async with relaying(database, url, max_attempts=1):
        await append(database, 3)
        await eventually(tried_often)
        waited = await log_of(database)
        adapter.answer = adapter.held_back
        await eventually(lambda: all_decided(database))
    assert [(each.attempts, each.last_error, each.parked_at) for each in waited] == [
        (0, "SNS said no", None)
    ] * 3


async def test_the_adapter_is_not_ready_while_sns_is_unavailable(database: Database) -> None:
    """The same with the real adapter: the event waits, and no attempt is counted."""
    [port] = free_ports(1)
    settings = AdapterSettings(environment="development", aws_endpoint_url=f"http://{HOST}:{port}")

    async def tried() -> LoggedEvent | None:
        [event] = await log_of(database)
        return event if event.last_error else None

    async with serving(create_adapter(settings)) as adapter, relaying(database, adapter.url, max_attempts=1):
        await append(database, event=OrderCompleted)
        event = await eventually(tried)
    assert "SNS did not accept the batch for order-events" in str(event.last_error)
    assert (event.attempts, event.parked_at) == (0, None)


async def test_the_backlog_has_size_and_age(database: Database) -> None:
    """The age is that of the oldest event, even if others are claimed before it."""
    await append(database, 3)
    await run(
        database,
        "UPDATE event_log SET occurred_at = now() - interval '1 hour', next_attempt_at = now() "
        "WHERE sequence = 2",
    )
    found = await backlog_of(database)
    assert (found.waiting, found.parked) == (3, 0)
    assert 3_600 <= found.oldest_seconds < 3_700


async def test_the_attempts_are_a_setting_of_the_service(
    order_database: str, aws_url: str, fake: tuple[Adapter, str]
) -> None:
    """EVENT_MAX_ATTEMPTS; the order's history shows when its event was parked."""
    adapter, url = fake
    adapter.fail(lambda event: True)
    settings = Settings(
        environment="development",
        database_url=order_database,
        adapter_url=url,
        aws_endpoint_url=aws_url,
        event_max_attempts=1,
    )
    async with serving(create_app(settings)) as order:
        order_id = (await order.http.post("/orders", json=ORDER)).json()["id"]

        async def parked_at() -> str | None:
            [event] = (await order.http.get(f"/orders/{order_id}/events")).json()["published"]
            found: str | None = event["parkedAt"]
            return found

        await eventually(parked_at)
