"""Transactional outbox: events are stored in the transaction of their command, and relayed after its commit.

    import asyncio

    from snsqs import MessageChannel
    from snsqs.events import ApplicationEventPublisher
    from snsqs.outbox import ChannelSink, EventLog, Relay
    from snsqs.postgres import connect

    async def run(database_url: str, channel: MessageChannel) -> None:
        event_log = EventLog()
        async with connect(database_url, ApplicationEventPublisher([event_log])) as database:
            relay = Relay(database, event_log, ChannelSink(channel, source="order"))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(relay.run())
                await serve(database)
                relay.stop()

`serve` stands for the service; whatever it publishes in a transaction is relayed once that is committed:

    async with database.transaction() as tx:
        await tx.connection.execute("INSERT INTO orders VALUES ($1)", order.id)
        await tx.publish(OrderPlaced(source=order))

With an adapter that decides which events leave, use `snsqs.outbox.http.HttpSink` instead of ChannelSink. The
tables come from `snsqs.migrations`. Needs asyncpg: `pip install snsqs[postgres]`.

After "Transactional outbox" and "Polling publisher" (Chris Richardson, microservices.io).
"""

from snsqs.outbox._backlog import Backlog, ParkedEvent, parked_events, read_backlog, resubmit
from snsqs.outbox._event_log import EventLog, LoggedEvent, decided_events, history
from snsqs.outbox._relay import Relay, RelayOptions
from snsqs.outbox._sink import (
    BatchFailed,
    BatchRejected,
    ChannelSink,
    EventSink,
    OutboxEvent,
    SinkUnavailable,
)

__all__ = [
    "Backlog",
    "BatchFailed",
    "BatchRejected",
    "ChannelSink",
    "EventLog",
    "EventSink",
    "LoggedEvent",
    "OutboxEvent",
    "ParkedEvent",
    "Relay",
    "RelayOptions",
    "SinkUnavailable",
    "decided_events",
    "history",
    "parked_events",
    "read_backlog",
    "resubmit",
]
