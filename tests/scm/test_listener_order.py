"""SCM's in-process listeners have the same effect in every order of registration."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.outbox import EventLog
from snsqs.postgres import Database, connect

from services.scm import inventory, listener
from services.scm.main import create_app, listeners
from services.scm.order_client import OrderClient
from services.scm.settings import Settings
from shared.web import components
from tests.scm.supply_chain import ADDRESS, ELSEWHERE, OrderService
from tests.serving import URL, calling

SHORT, REDIRECTED, REJECTED = ("1" * 20, "2" * 20, "3" * 20)

TABLES = {
    "fulfilment": "order_id, version, status, shortages, invoice_id IS NULL, order_version",
    "stock": "sku, on_hand, reserved",
    "stock_movement": "sku, quantity, reason",
    "reservation": "order_id, sku, quantity, status",
    "waiting_line": "order_id, sku, quantity, position IS NULL",
    "purchase_order": "order_id, supplier, status, lines",
    "invoice": "order_id, delivery_address, voided_at IS NULL, dispatched_at IS NULL, delivered_at IS NULL",
}
"""Columns that depend neither on time nor on generated ids."""

EMPTY = f"TRUNCATE event_log, receipt, waiting_order, {', '.join(TABLES)} RESTART IDENTITY"

EVENTS = "SELECT subject, type, sequence, data FROM event_log ORDER BY position"


Arrangement = Callable[[list[Listener]], list[Listener]]


def reverse(listeners: list[Listener]) -> list[Listener]:
    return listeners[::-1]


def shuffle(seed: int) -> Arrangement:
    def shuffled(listeners: list[Listener]) -> list[Listener]:
        return random.Random(seed).sample(listeners, len(listeners))

    return shuffled


@dataclass
class Scm:
    """SCM with a fake Order service and its listeners in one order."""

    database: Database
    http: httpx.AsyncClient
    orders: OrderService
    allocation: inventory.Allocation
    signal: inventory.AllocationSignal

    async def deliver(self, event_type: Any, order_id: str, version: int, status: str, **lines: int) -> None:
        order_lines = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        order = {"id": order_id, "version": version, "status": status, "orderLines": order_lines}
        self.orders.lines.setdefault(order_id, order_lines)
        event = event_type(source=listener.Order.model_validate(order))
        async with self.database.transaction() as tx:
            await listener.on_order_event(event, tx)

    async def report(self, order_id: str, step: str) -> None:
        invoices = (await self.http.get("/external-api/invoices", params={"orderId": order_id})).json()
        [live] = [each for each in invoices if each["status"] != "VOID"]
        (await self.http.post(f"/external-api/invoices/{live['id']}/{step}")).raise_for_status()

    async def receive(self, **lines: int) -> None:
        """Receive all goods of the first purchase order."""
        path = "/partner-office/purchase-orders/1"
        goods = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        (await self.http.post(f"{path}/confirm")).raise_for_status()
        body = {"deliveryNote": "note-1", "lines": goods}
        (await self.http.post(f"{path}/receive", json=body)).raise_for_status()

    async def state(self) -> dict[str, Any]:
        async with self.database.connection() as connection:
            events = [
                (row["subject"], row["type"], row["sequence"], _content(row["data"]))
                for row in await connection.fetch(EVENTS)
            ]
            rows = {
                table: sorted(map(repr, map(tuple, await connection.fetch(f"SELECT {columns} FROM {table}"))))
                for table, columns in TABLES.items()
            }
        return {"events": events, **rows}


def _content(data: str) -> tuple[Any, ...]:
    source = json.loads(data)["source"]
    return (source["status"], source["shortages"], source["invoiceId"] is None, source["orderVersion"])


@asynccontextmanager
async def scm_with(url: str, arrange: Arrangement) -> AsyncIterator[Scm]:
    """Yield an empty SCM that registers its listeners, followed by the event log, in this arrangement."""
    orders, signal = OrderService(), inventory.AllocationSignal()
    app = create_app(Settings(environment="development", database_url=url))
    async with calling(orders.app) as order_http, calling(app) as http:
        registered: list[Listener] = [*listeners(OrderClient(order_http, URL, {}), signal), EventLog()]
        async with connect(url, ApplicationEventPublisher(arrange(registered))) as database:
            components(app).add(database)
            async with database.connection() as connection:
                await connection.execute(EMPTY)
            yield Scm(database, http, orders, inventory.Allocation(database, signal), signal)


async def effects(url: str, arrange: Arrangement) -> dict[str, Any]:
    """Return events, rows and wake-ups of the allocation after a history with every in-process event."""
    woken = []
    async with scm_with(url, arrange) as scm:
        scm.orders.addresses = dict.fromkeys((SHORT, REDIRECTED, REJECTED), ADDRESS)
        (await scm.http.put("/back-office/stock/mug", json={"onHand": 5})).raise_for_status()
        for step in (
            lambda: scm.deliver(listener.OrderCompleted, REDIRECTED, 2, "COMPLETED", mug=2),
            lambda: scm.deliver(listener.OrderCompleted, SHORT, 2, "COMPLETED", mug=1, tray=2),
            lambda: _redirect(scm),
            lambda: scm.report(REDIRECTED, "dispatched"),
            lambda: scm.report(REDIRECTED, "delivered"),
            lambda: scm.receive(tray=2),
            scm.allocation.serve_batch,
            lambda: scm.deliver(listener.OrderCancelled, SHORT, 3, "CANCELLING", mug=1, tray=2),
            lambda: scm.deliver(listener.OrderCompleted, REJECTED, 2, "COMPLETED", mug=1),
            lambda: scm.report(REJECTED, "dispatched"),
            lambda: scm.deliver(listener.OrderCancelled, REJECTED, 3, "CANCELLING", mug=1),
        ):
            scm.signal.woken.clear()
            await step()
            woken.append(scm.signal.woken.is_set())
        return {"woken": woken, **await scm.state()}


async def _redirect(scm: Scm) -> None:
    scm.orders.addresses[REDIRECTED], scm.orders.versions[REDIRECTED] = ELSEWHERE, 3
    await scm.deliver(listener.DeliveryAddressChanged, REDIRECTED, 3, "PREPARING", mug=2)


@pytest.mark.parametrize("arrange", [reverse, *map(shuffle, range(4))])
async def test_the_order_of_listeners_is_irrelevant(scm_database: str, arrange: Arrangement) -> None:
    """Reversed, where every pair changes places, and shuffled: the same events, rows and wake-ups."""
    expected = await effects(scm_database, list)
    assert [event_type for _, event_type, *_ in expected["events"]] == [
        "StockReserved",
        "DeliveryInvoiceIssued",
        "StockShort",
        "DeliveryInvoiceIssued",
        "ParcelDispatched",
        "ParcelDelivered",
        "StockReserved",
        "DeliveryInvoiceIssued",
        "FulfilmentCancelled",
        "StockReserved",
        "DeliveryInvoiceIssued",
        "ParcelDispatched",
        "CancellationRejected",
    ]
    assert await effects(scm_database, arrange) == expected
