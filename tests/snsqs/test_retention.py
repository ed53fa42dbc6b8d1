"""Retention: expired rows are deleted, in small batches. The inbox's rules are in test_inbox.py."""

import asyncpg
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import EventLog, decided_events
from snsqs.postgres import Database, connect
from snsqs.retention import Retention

from services.order.main import create_app as create_order
from services.order.settings import Settings as OrderSettings
from services.scm.main import create_app as create_scm
from services.scm.settings import Settings as ScmSettings
from tests.serving import eventually, serving
from tests.snsqs.relays import ORDER_ID, append, locked, log_of, run, sweeping

ANOTHER_ID = "20210717235959000001"

END_THE_DELETION = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%DELETE%'
"""


async def decide(database: Database, subject: str = ORDER_ID, *, days_ago: int) -> None:
    """Record a decision on the waiting events of an order, made `days_ago`."""
    await run(
        database,
        "UPDATE event_log SET decision = 'held_back', occurred_at = now() - make_interval(days => $2), "
        "decided_at = now() - make_interval(days => $2) WHERE subject = $1 AND decision IS NULL",
        subject,
        days_ago,
    )


async def count(database: Database, table: str = "event_log") -> int:
    [[rows]] = await run(database, f"SELECT count(*) FROM {table}")
    return int(rows)


async def is_left(database: Database, rows: int, table: str = "event_log") -> bool:
    return await count(database, table) == rows


async def test_old_events_are_deleted_and_newer_ones_kept(database: Database) -> None:
    """The age counts from the decision."""
    await append(database, 5)
    await decide(database, days_ago=31)
    await append(database, 3, ANOTHER_ID)
    await decide(database, ANOTHER_ID, days_ago=29)
    async with sweeping(database, decided_events(30)):
        await eventually(lambda: is_left(database, 3))
    assert len(await log_of(database, ANOTHER_ID)) == 3


async def test_events_that_wait_or_are_parked_are_never_deleted(database: Database) -> None:
    """However old they are: they have not been published yet."""
    await append(database, 2)
    await run(database, "UPDATE event_log SET occurred_at = now() - interval '1 year'")
    await run(database, "UPDATE event_log SET parked_at = occurred_at, last_error = '' WHERE sequence = 2")
    await append(database, 5, ANOTHER_ID)
    await decide(database, ANOTHER_ID, days_ago=31)
    async with sweeping(database, decided_events(30)):
        await eventually(lambda: is_left(database, 2))
    assert len(await log_of(database)) == 2


async def test_one_transaction_deletes_only_a_small_batch(database: Database) -> None:
    """A pause follows, which does not delay stopping."""
    await append(database, 25)
    await decide(database, days_ago=31)
    async with sweeping(database, decided_events(30), batch_size=10, pause=60):
        await eventually(lambda: is_left(database, 15))
    assert await count(database) == 15
    async with sweeping(database, decided_events(30), batch_size=10, pause=0.01):
        await eventually(lambda: is_left(database, 0))


async def test_concurrent_sweeps_skip_locked_rows(database: Database) -> None:
    """A locked row is deleted in a later sweep."""
    await append(database, 200)
    await decide(database, days_ago=31)
    options = {"batch_size": 7, "pause": 0.0, "interval": 0.05}
    async with database.connection() as connection:
        tx = connection.transaction()
        await tx.start()
        await connection.fetch("SELECT FROM event_log ORDER BY position LIMIT 1 FOR UPDATE")
        async with (
            sweeping(database, decided_events(30), **options),
            sweeping(database, decided_events(30), **options),
        ):
            await eventually(lambda: is_left(database, 1))
            await tx.rollback()
            await eventually(lambda: is_left(database, 0))


async def test_a_sweep_that_is_slow_is_tried_again(database: Database, order_database: str) -> None:
    """It reports the error meanwhile, and does not end the service."""
    async with asyncpg.create_pool(order_database, command_timeout=0.2) as pool:
        impatient = Database(pool, ApplicationEventPublisher())
        async with sweeping(impatient, decided_events(30), max_backoff=0.05, interval=0.05) as retention:
            async with locked(order_database, "event_log"):
                await eventually(lambda: is_degraded(retention))
            assert "TimeoutError" in str(retention.degraded_reason)
            await append(database, 5)
            await decide(database, days_ago=31)
            await eventually(lambda: is_left(database, 0))
            await eventually(lambda: is_well(retention))


async def test_a_sweep_whose_connection_ends_is_tried_again(database: Database, order_database: str) -> None:
    """PostgreSQL closes it during the deletion."""
    async with sweeping(database, decided_events(30), max_backoff=0.05, interval=0.05) as retention:
        async with locked(order_database, "event_log"), asyncpg.create_pool(order_database) as admin:
            await eventually(lambda: admin.fetchval(END_THE_DELETION))
            await eventually(lambda: is_degraded(retention))
        await append(database, 5)
        await decide(database, days_ago=31)
        await eventually(lambda: is_left(database, 0))


async def is_degraded(retention: Retention) -> bool:
    return retention.degraded_reason is not None


async def is_well(retention: Retention) -> bool:
    return retention.degraded_reason is None


async def test_a_service_keeps_its_events_by_default(
    database: Database, order_database: str, aws_url: str
) -> None:
    """Without EVENT_RETENTION_DAYS no event is deleted; the inbox, swept after the events, shows the end of
    the sweep (INBOX_RETENTION_DAYS is 30). With it, old events are deleted."""
    await append(database, 2)
    await decide(database, days_ago=365)
    await receive(database, days_ago=31)
    settings = OrderSettings(environment="development", database_url=order_database, aws_endpoint_url=aws_url)
    async with serving(create_order(settings)) as order:
        await eventually(lambda: is_left(database, 0, "inbox"))
        assert (await order.http.get("/readyz")).json()["checks"]["retention"] == "ok"
    assert await count(database) == 2
    with_retention = settings.model_copy(update={"event_retention_days": 364})
    async with serving(create_order(with_retention)):
        await eventually(lambda: is_left(database, 0))


async def test_scm_prunes_its_tables_too(scm_database: str, aws_url: str) -> None:
    """SCM has the same two settings; with a retention of 60 days, a record of 31 days remains."""
    async with connect(scm_database, ApplicationEventPublisher([EventLog()])) as database:
        await append(database, 2)
        await decide(database, days_ago=3)
        await receive(database, days_ago=61)
        await receive(database, days_ago=31)
        settings = ScmSettings(
            environment="development",
            database_url=scm_database,
            aws_endpoint_url=aws_url,
            event_retention_days=2,
            inbox_retention_days=60,
        )
        async with serving(create_scm(settings)):
            await eventually(lambda: is_left(database, 1, "inbox"))
            await eventually(lambda: is_left(database, 0))


async def receive(database: Database, *, days_ago: int) -> None:
    """Record a message that was received `days_ago`."""
    await run(
        database,
        "INSERT INTO inbox (consumer, message_id, type, subject, receive_count, received_at) "
        "VALUES ('queue', gen_random_uuid(), 'Painted', '1', 1, now() - make_interval(days => $1))",
        days_ago,
    )
