"""Testing API with PostgreSQL: the inbox and the outbox of a service on the in-memory broker."""

from collections.abc import AsyncIterator

import pytest
from snsqs import Aggregate, sqs_listener
from snsqs.events import event_listener
from snsqs.postgres import Transaction
from snsqs.testing import MemoryBroker
from snsqs.testing.postgres import postgres_broker

from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.snsqs.queues import TOPIC, Painted, Sold, listener


@pytest.fixture
async def empty_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template0") as url:
        yield url


@listener
async def sell(event: Painted, tx: Transaction) -> None:
    await tx.publish(Sold(source=event.source))


@sqs_listener("sold-queue", topic="sales")
async def on_sold(event: Sold) -> None: ...


def painted(version: int) -> Painted:
    return Painted(source=Aggregate(id="1", version=version))


async def test_join_waits_for_the_outbox_and_its_consumers(empty_database: str) -> None:
    """One handler publishes through the outbox, and another one handles that."""
    async with postgres_broker(empty_database, topic="sales", source="shop") as (broker, _):
        broker.listen(sell, on_sold)
        event = painted(1)
        await broker.publish(event)
        await broker.join()
        [sold] = broker.published(Sold, topic="sales")
        assert broker.handled(Sold) == [sold]
        assert sold.source == event.source
        assert broker.topic("sales").messages[0].headers["ce-source"] == "shop"


async def test_a_command_publishes_through_the_outbox(empty_database: str) -> None:
    """In a transaction of the database, with in-process listeners that run before the event log."""
    heard = []

    @event_listener
    async def remember(event: Sold, tx: Transaction) -> None:
        heard.append(event)

    async with postgres_broker(empty_database, topic="sales", listeners=[remember]) as (broker, database):
        sold = Sold(source=Aggregate(id="1", version=1))
        async with database.transaction() as tx:
            await tx.publish(sold)
        await broker.join()
        assert heard == broker.published(Sold) == [sold]


async def test_the_inbox_absorbs_duplicates_and_older_versions(empty_database: str) -> None:
    """They are outcomes of the broker, and not handled."""
    async with postgres_broker(empty_database, topic="sales") as (broker, _):
        broker.listen(sell)
        await broker.publish(painted(2))
        await broker.join()
        await broker.publish(broker.topic(TOPIC).messages[0], painted(1))
        await broker.join()
        assert sorted(each.outcome for each in broker.outcomes) == ["duplicate", "handled", "superseded"]
        assert [event.source.version for event in broker.handled(Painted)] == [2]
        assert len(broker.published(Sold)) == 1


async def test_an_event_that_the_topic_rejects_fails_join(empty_database: str) -> None:
    """It is parked at once."""

    class Big(Sold):
        text: str

    async with postgres_broker(empty_database, topic="sales") as (broker, database):
        async with database.transaction() as tx:
            await tx.publish(Big(source=Aggregate(id="1", version=1), text="x" * 2_000_000))
        with pytest.raises(ExceptionGroup) as raised:
            await broker.join()
        assert "1 events are parked" in str(raised.value.exceptions[0])


async def test_join_raises_the_error_of_a_relay_that_ended(empty_database: str) -> None:
    """Instead of waiting for its events forever."""

    class Broken:
        async def run(self) -> None:
            raise ValueError("broken")

        def stop(self) -> None: ...

        async def backlog(self) -> "Broken":
            return self

        waiting, parked = 1, 0

    broker = MemoryBroker()
    broker.attach(Broken())
    with pytest.raises(ValueError, match="broken"):
        await broker.join()
