"""SCM under test: an Order service that answers as it is told, and order events on the topic. There is no
adapter: what SCM publishes waits in its event log, where REST shows it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from snsqs import Message, MessagingError, SnsChannel, Topology, aws_clients
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE
from snsqs.postgres import Database

from local.ports import HOST
from services.scm.turn import take_turn
from tests.serving import OPERATOR, Served, eventually, scm_service, serving

QUEUE = "scm-adapter-order-event-queue"

ADDRESS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent.parent / "docs" / "order.json").read_text()
)["deliveryAddress"]
ELSEWHERE = ADDRESS | {"street": "99 Gangnam-daero"}

NOON = 1626523200000
"""2021-07-17, 12:00 UTC, in milliseconds since the epoch."""


class OrderService:
    """Knows the addresses of orders, each at version 2 until a test says another, remembers for which it was
    asked, and is away or keeps its answers back when it is told so."""

    def __init__(self) -> None:
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.addresses: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.asked: list[str] = []
        self.app = FastAPI()
        self.app.add_api_route("/orders/{order_id}", self.read)

    async def read(self, order_id: str) -> Response:
        self.asked.append(order_id)
        await self.answers.wait()
        if self.is_away:
            return Response(status_code=503)
        if order_id not in self.addresses:
            return JSONResponse({"title": "Not Found"}, 404)
        version, address = self.versions.get(order_id, 2), self.addresses[order_id]
        return JSONResponse({"id": order_id, "version": version, "deliveryAddress": address})


@dataclass(frozen=True)
class Scm:
    """The SCM service, and what it hears and asks."""

    served: Served
    orders: OrderService
    topic: SnsChannel

    @property
    def database(self) -> Database:
        return self.served.database

    async def stock(self, **on_hand: int) -> None:
        for sku, count in on_hand.items():
            await self.put(f"/back-office/stock/{sku}", onHand=count)

    async def send(self, *messages: Message[str]) -> None:
        """Publishes them, and does not wait."""
        for outcome in await self.topic.send(messages):
            assert not isinstance(outcome, MessagingError)

    async def hears(self, *messages: Message[str]) -> None:
        """Publishes one after the other, and each when the one before is done with."""
        for message in messages:
            await self.send(message)
            await self.is_done_with(message)

    async def is_done_with(self, message: Message[str], queue: str = QUEUE) -> dict[str, Any]:
        """Waits until the message was handled, or superseded. Returns the inbox's record of it."""

        async def record() -> dict[str, Any] | None:
            """SCM is done with the message."""
            received = (await self.get(f"/orders/{message.subject}/events"))["received"]
            about = {(each["consumer"], each["messageId"]): each for each in received}
            return about.get((queue, message.id))

        return await eventually(record, within=30)

    async def invoiced(self, **lines: int) -> str:
        """A completed order of SCM's, which has its invoice. Returns the order's id."""
        order_id = self.order(ADDRESS)
        await self.stock(**(lines or {"mug": 1_000}))
        await self.hears(completed(order_id, **lines))
        assert await self.status(order_id) == "INVOICED"
        return order_id

    def order(self, address: dict[str, Any]) -> str:
        """A new order that the Order service knows."""
        order_id = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
        self.orders.addresses[order_id] = address
        return order_id

    async def status(self, order_id: str) -> str:
        status: str = (await self.get(f"/orders/{order_id}"))["status"]
        return status

    async def invoices(self, order_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get("/external-api/invoices", orderId=order_id)
        return found

    async def live_invoice(self, order_id: str) -> dict[str, Any]:
        """The one that is not void."""
        [live] = [each for each in await self.invoices(order_id) if each["status"] != "VOID"]
        return live

    async def carrier(self, invoice_id: str, step: str) -> httpx.Response:
        """A carrier's report: `dispatched`, `delivered`."""
        return await self.served.http.post(f"/external-api/invoices/{invoice_id}/{step}", headers=OPERATOR)

    async def published(self, order_id: str) -> list[str]:
        """The types of what SCM published about the order."""
        return [each["type"] for each in (await self.get(f"/orders/{order_id}/events"))["published"]]

    async def get(self, path: str, **params: str) -> Any:
        return (await self.served.http.get(path, params=params)).raise_for_status().json()

    async def put(self, path: str, **body: object) -> Any:
        return (await self.served.http.put(path, json=body, headers=OPERATOR)).raise_for_status().json()


def completed(order_id: str, version: int = 2, at: int = NOON, **lines: int) -> Message[str]:
    return order_event("OrderCompleted", order_id, version, "COMPLETED", lines, at)


def address_changed(order_id: str, version: int = 3, **lines: int) -> Message[str]:
    return order_event("DeliveryAddressChanged", order_id, version, "COMPLETED", lines)


def cancelled(order_id: str, version: int = 4, **lines: int) -> Message[str]:
    return order_event("OrderCancelled", order_id, version, "CANCELLING", lines)


def order_event(
    event_type: str, order_id: str, version: int, status: str, lines: dict[str, int], at: int = NOON
) -> Message[str]:
    """As the adapter publishes it; for one mug, when nothing else is said."""
    order_lines = [{"sku": sku, "quantity": quantity} for sku, quantity in (lines or {"mug": 1}).items()]
    source = {"id": order_id, "version": version, "status": status, "orderLines": order_lines}
    about = {ID: str(uuid.uuid4()), TYPE: event_type, SUBJECT: order_id, SEQUENCE: str(version)}
    return Message(json.dumps({"source": source, "occurenceOn": at}), about)


@asynccontextmanager
async def supply_chain(database_url: str, aws_url: str) -> AsyncIterator[Scm]:
    """SCM with an Order service of the test's own."""
    orders = OrderService()
    async with (
        serving(orders.app) as order,
        scm_service(database_url, aws_url, f"http://{HOST}:1", order.url) as served,
        aws_clients(region="us-east-1", endpoint_url=aws_url) as clients,
    ):
        yield Scm(served, orders, SnsChannel(clients.sns, Topology(clients, create=True), "order-events"))


@asynccontextmanager
async def turn_taken(
    database: Database, order_id: str
) -> AsyncIterator[Callable[[int], Coroutine[Any, Any, None]]]:
    """Nobody else can change the order until the body ends. Yields what waits until so many try to."""

    async def queued(count: int) -> None:
        async def waiting() -> bool:
            """So many wait for the order's turn."""
            async with database.connection() as connection:
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool(await connection.fetchval(locks) == count)

        await eventually(waiting)

    async with database.transaction() as tx:
        await take_turn(tx, order_id)
        yield queued
