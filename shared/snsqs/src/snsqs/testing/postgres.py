"""MemoryBroker with the inbox and the outbox of a service, on a PostgreSQL database.

    from snsqs.testing.postgres import postgres_broker

    async def test_a_completed_order_is_billed(database_url: str) -> None:
        async with postgres_broker(database_url, topic="billing-events") as (broker, database):
            broker.listen(update_bill)
            await broker.publish(OrderCompleted(source=order))
            await broker.join()
            assert broker.published(BillChanged) == [BillChanged(source=bill)]

Needs asyncpg: `pip install snsqs[postgres]`. A database has its own time, so use the real clock.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from snsqs._settings import QueueSettings
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.inbox import Inbox
from snsqs.migrations import migrate
from snsqs.outbox import ChannelSink, EventLog, Relay, RelayOptions
from snsqs.postgres import Database, connect
from snsqs.testing._broker import MemoryBroker

__all__ = [
    "postgres_broker",
]


@asynccontextmanager
async def postgres_broker(
    database_url: str,
    *,
    topic: str,
    source: str = "test",
    listeners: Sequence[Listener] = (),
    settings: QueueSettings | None = None,
) -> AsyncIterator[tuple[MemoryBroker, Database]]:
    """Open a broker whose listeners have the inbox as middleware, and a database whose published events are
    relayed to a topic of the broker.

    `broker.join()` also waits for the outbox. Events that the topic rejects are parked at once, and `join`
    raises for them. The library's tables are created if they are missing. Raises DatabaseUnreachable.

    Args:
        database_url: a database that no other test uses at the same time.
        topic: topic of the broker that the outbox publishes to.
        source: name of the service, the header `ce-source` of published messages.
        listeners: in-process listeners, which run before the event log.
        settings: settings of all queues.
    """
    await migrate(database_url)
    event_log = EventLog()
    publisher = ApplicationEventPublisher([*listeners, event_log])
    async with (
        connect(database_url, publisher) as database,
        MemoryBroker(settings=settings, middleware=[Inbox(database)]) as broker,
    ):
        sink = ChannelSink(broker.topic(topic), source=source)
        broker.attach(Relay(database, event_log, sink, options=RelayOptions(max_attempts=1)))
        yield broker, database
