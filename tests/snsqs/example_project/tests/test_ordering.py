"""The service with an in-memory broker and PostgreSQL."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from ordering.models import Base, Bill, Order
from ordering.service import OrderPlaced, issue_bill, place_order
from snsqs.inbox import Inbox
from snsqs.migrations import migrate
from snsqs.outbox import ChannelSink, EventLog, Relay
from snsqs.sqlalchemy import SqlAlchemyDatabase
from snsqs.testing import MemoryBroker
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


@dataclass(frozen=True)
class Service:
    sessions: async_sessionmaker[AsyncSession]
    event_log: EventLog
    broker: MemoryBroker

    async def place(self, order_id: str, total: int = 100) -> None:
        async with self.sessions.begin() as session:
            await place_order(order_id, total, session, self.event_log)

    async def bills(self) -> list[tuple[str, int]]:
        async with self.sessions() as session:
            return [(bill.order_id, bill.total) for bill in await session.scalars(select(Bill))]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    url = os.environ["DATABASE_URL"]
    await migrate(url)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.exec_driver_sql("TRUNCATE event_log, inbox, inbox_version")
    sessions, event_log = async_sessionmaker(engine), EventLog()
    database = SqlAlchemyDatabase(sessions)
    async with MemoryBroker(middleware=[Inbox(database)]) as broker:
        broker.listen(issue_bill)
        sink = ChannelSink(broker.topic("order-events"), source="ordering")
        broker.attach(Relay(database, event_log, sink))
        yield Service(sessions, event_log, broker)
    await engine.dispose()


async def test_a_placed_order_is_billed(service: Service) -> None:
    await service.place("1", 250)
    await service.broker.join()
    assert [event.source.id for event in service.broker.published(OrderPlaced)] == ["1"]
    assert await service.bills() == [("1", 250)]


async def test_an_order_that_was_not_stored_is_not_billed(service: Service) -> None:
    async with service.sessions() as session:
        await place_order("2", 100, session, service.event_log)
        await session.rollback()
    await service.broker.join()
    async with service.sessions() as session:
        assert await session.get(Order, "2") is None
    assert service.broker.published(OrderPlaced) == []


async def test_a_message_that_is_delivered_twice_is_billed_once(service: Service) -> None:
    await service.place("3")
    await service.broker.join()
    [sent] = service.broker.topic("order-events").messages
    await service.broker.publish(sent)
    await service.broker.join()
    assert [each.outcome for each in service.broker.outcomes] == ["handled", "duplicate"]
    assert await service.bills() == [("3", 100)]
