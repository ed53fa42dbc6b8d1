"""Relay under test: its event log, and an adapter with programmable answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from snsqs.outbox import EventLog, LoggedEvent, Relay, RelayOptions, history
from snsqs.outbox.http import HttpSink
from snsqs.postgres import Database
from snsqs.retention import Expiry, Retention, RetentionOptions

from services.order.events import OrderEvent, OrderPlaced
from services.order.order import Order, PlaceOrder
from shared.runtime.background import Loop
from shared.runtime.tokens import bearer, development_token
from tests.order.test_api import ORDER

Batch = list[dict[str, Any]]

ORDER_ID = "20210717235959000000"


async def append(
    database: Database, count: int = 1, subject: str = ORDER_ID, event: type[OrderEvent] = OrderPlaced
) -> None:
    """Publish `count` events of one order, with the versions 1, 2, …"""
    order = Order.placed(subject, PlaceOrder.model_validate(ORDER))
    async with database.transaction() as tx:
        for version in range(1, count + 1):
            await tx.publish(event(source=order.model_copy(update={"version": version})))


async def run(database: Database, statement: str, *parameters: object) -> list[asyncpg.Record]:
    async with database.connection() as connection:
        return await connection.fetch(statement, *parameters)


async def log_of(database: Database, subject: str = ORDER_ID) -> list[LoggedEvent]:
    async with database.connection() as connection:
        return await history(connection, subject)


async def all_decided(database: Database, subject: str = ORDER_ID) -> bool:
    """Every event of the order has the adapter's decision."""
    return all(event.decision for event in await log_of(database, subject))


class Adapter:
    """Adapter that keeps the batches it receives, and answers with `answer`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.answer: Callable[[Batch], Awaitable[Response] | Response] = self.held_back
        self.is_ready = True
        self.app = FastAPI()
        self.app.add_api_route("/events", self.take, methods=["POST"])
        self.app.add_api_route("/readyz", self.readyz)

    async def readyz(self) -> Response:
        return Response(status_code=200 if self.is_ready else 503)

    async def take(self, request: Request) -> Response:
        batch: Batch = await request.json()
        self.batches.append(batch)
        answer = self.answer(batch)
        return answer if isinstance(answer, Response) else await answer

    @staticmethod
    def held_back(batch: Batch) -> Response:
        return JSONResponse({"results": [result(event) for event in batch]})

    def fail(self, is_bad: Callable[[dict[str, Any]], bool]) -> None:
        """Answer the events for which `is_bad` is true as failed, and the others as held back."""

        def answer(batch: Batch) -> Response:
            results = [
                result(event, "failed", error="SNS said no") if is_bad(event) else result(event)
                for event in batch
            ]
            return JSONResponse({"results": results})

        self.answer = answer

    @property
    def ids(self) -> list[str]:
        return [event["id"] for batch in self.batches for event in batch]


def result(event: dict[str, Any], decision: str = "held_back", **more: Any) -> dict[str, Any]:
    decided = {"decidedAt": datetime.now(UTC).isoformat(), "rule": "a-rule"}
    return {"id": event["id"], "decision": decision, **decided, **more}


@asynccontextmanager
async def relaying(
    database: Database, url: str, *, event_log: EventLog | None = None, **options: Any
) -> AsyncIterator[Relay]:
    """Run a relay. Events appended through another `event_log` are found by polling, like those of another
    process."""
    settings = {"poll_interval": 0.2, "max_backoff": 0.2} | options
    async with httpx.AsyncClient() as http:
        sink = HttpSink(http, url, source="order", headers=bearer(development_token("order")))
        relay = Relay(database, event_log or EventLog(), sink, options=RelayOptions(**settings))
        async with running(relay):
            yield relay


@asynccontextmanager
async def sweeping(database: Database, *expiries: Expiry, **options: Any) -> AsyncIterator[Retention]:
    retention = Retention(database, *expiries, options=RetentionOptions(**options))
    async with running(retention):
        yield retention


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[None]:
    """Run the loop until the body ends. It has 10 s to stop."""
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        loop.stop()
        async with asyncio.timeout(10):
            await task


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[asyncpg.Connection]:
    """Lock the table against reads and writes until the body ends."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()
