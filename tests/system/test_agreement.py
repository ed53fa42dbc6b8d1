"""G4: Order and SCM end in the same state after any history of commands, reports and deliveries.

Both services run with their databases, the adapter with its routes. The in-memory broker reorders, duplicates
and delays messages by a seed; the history decides when a queue delivers its next message.
"""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from snsqs import Delivery, JsonConverter, bindings
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.inbox import Inbox
from snsqs.outbox import EventLog, Relay
from snsqs.outbox.http import HttpSink
from snsqs.postgres import Database, connect
from snsqs.testing import Faults, MemoryBroker, MemoryQueue, message_handler

from local.reconcile import compare
from services.adapter.bridge import Bridge
from services.adapter.decisions import Decisions
from services.adapter.main import create_app as create_adapter
from services.adapter.routes import read_routes
from services.adapter.settings import Settings as AdapterSettings
from services.order import main as order_main
from services.order.settings import Settings as OrderSettings
from services.scm import inventory
from services.scm import main as scm_main
from services.scm.order_client import OrderClient
from services.scm.settings import Settings as ScmSettings
from shared.operations import reconciliation
from shared.runtime.tokens import bearer, development_token
from shared.web import components
from tests.order.test_api import ORDER
from tests.serving import URL, calling

CONSUMED = [
    *(("order", each) for each in bindings(order_main.HANDLERS)),
    *(("scm", each) for each in bindings(scm_main.HANDLERS)),
]
ARTICLES = ("A", "B")
ORDERS = 4

AT_SCM = 1
ROUTES = read_routes(AdapterSettings(environment="development").routes_file)

order_numbers = st.integers(0, ORDERS - 1)
customer_steps = st.tuples(
    st.sampled_from(["complete", "complete", "complete", "cancel", "address", "memo"]), order_numbers
)
other_steps = st.tuples(st.sampled_from(["dispatched", "dispatched", "delivered", "goods"]), order_numbers)
delivery_steps = st.tuples(st.just("deliver"), st.integers(0, len(CONSUMED) - 1))
lines = st.lists(
    st.dictionaries(st.sampled_from(ARTICLES), st.integers(1, 3), min_size=1),
    min_size=ORDERS,
    max_size=ORDERS,
)
random_faults = st.builds(
    Faults,
    seed=st.integers(0, 2**32),
    duplicate=st.floats(0, 0.5),
    reorder=st.floats(0, 1),
    delay=st.floats(0, 0.5),
    max_delay=st.just(0.05),  # PostgreSQL's clock is a real one, so this is really waited for
)
Step = tuple[str, int]


@dataclass
class Landscape:
    """Both services, the adapter and the broker's queues."""

    order: httpx.AsyncClient
    scm: httpx.AsyncClient
    adapter: FastAPI
    databases: dict[str, Database]
    relays: Sequence[Relay]
    allocation: inventory.Allocation
    queues: list[MemoryQueue] = field(default_factory=list)
    """One per binding in CONSUMED."""
    ids: list[str] = field(default_factory=list)
    houses: Iterator[int] = field(default_factory=itertools.count)

    async def reset(self, orders: Sequence[dict[str, int]], stock: int, faults: Faults) -> None:
        for database in self.databases.values():
            async with database.connection() as connection:
                tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                names = [each["tablename"] for each in tables if "yoyo" not in each["tablename"]]
                await connection.execute(f"TRUNCATE {', '.join(names)}")
        broker = MemoryBroker(faults=faults)
        self.queues = [broker.subscribe(binding)[0] for _, binding in CONSUMED]
        channels = {name: broker.topic(name) for name in ROUTES.topics}
        components(self.adapter).add(Bridge(ROUTES, channels, Decisions(ROUTES.topics).record))
        for article in ARTICLES:
            await self.scm.put(f"/back-office/stock/{article}", json={"onHand": stock})
        self.ids = [await self._place(each) for each in orders]

    async def _place(self, quantities: dict[str, int]) -> str:
        order_lines = [
            {"sku": sku, "name": sku, "quantity": quantity, "unitPrice": 100}
            for sku, quantity in quantities.items()
        ]
        response = await self.order.post("/orders", json=ORDER | {"orderLines": order_lines})
        return str(response.json()["id"])

    async def take(self, step: Step) -> None:
        """Steps that the order's status does not allow are rejected and have no effect."""
        action, number = step
        if action == "deliver":
            await self.deliver_next(number)
            return
        order_id = self.ids[number]
        if action in ("dispatched", "delivered"):
            invoices = (await self.scm.get("/external-api/invoices", params={"orderId": order_id})).json()
            for invoice in invoices:
                await self.scm.post(f"/external-api/invoices/{invoice['id']}/{action}")
        elif action == "goods":
            await self._receive_goods()
        elif action == "address":
            address = ORDER["deliveryAddress"] | {"street": f"{next(self.houses)} Sejong-daero"}
            await self.order.put(f"/orders/{order_id}/delivery-address", json=address)
        elif action == "memo":
            await self.order.put(f"/orders/{order_id}/memo", json={"memo": "call before noon"})
        else:
            await self.order.post(f"/orders/{order_id}/{action}")
        await self.relay()

    async def _receive_goods(self) -> None:
        """Receive all goods of every purchase order."""
        for purchase_order in (await self.scm.get("/partner-office/purchase-orders")).json():
            path = f"/partner-office/purchase-orders/{purchase_order['id']}"
            await self.scm.post(f"{path}/confirm")
            lines = [{"sku": each["sku"], "quantity": each["quantity"]} for each in purchase_order["lines"]]
            await self.scm.post(f"{path}/receive", json={"deliveryNote": "DN", "lines": lines})

    async def relay(self) -> None:
        """Relay all events to the adapter."""
        for relay in self.relays:
            while await relay.relay_batch():
                pass
            backlog = await relay.backlog()
            assert (backlog.waiting, backlog.parked) == (0, 0)

    async def deliver_next(self, number: int, *, wait: int = 0) -> None:
        """Handle the next message of a queue, if one arrives within `wait` seconds."""
        (service, binding), queue = CONSUMED[number], self.queues[number]
        handle = message_handler(binding, [Inbox(self.databases[service])])
        for received in await queue.receive(limit=1, wait=wait, visibility=30):
            message = JsonConverter().to_message(received.body, received.attributes)
            await handle(Delivery((message,), queue.name, received.receive_count, received.received_at))
            await queue.delete([received.receipt_handle])
            await self.relay()

    async def settle(self) -> None:
        """Deliver all messages and serve the waiting orders."""
        await self.relay()
        while True:
            while waiting := [number for number, queue in enumerate(self.queues) if not queue.is_empty]:
                for number in waiting:
                    await self.deliver_next(number, wait=1)
            await self.allocation.serve_batch()
            await self.relay()
            if all(queue.is_empty for queue in self.queues):
                return

    async def states(self) -> list[tuple[str, str | None, int]]:
        """Return for each order: its status, that of its fulfilment, and the number of live invoices."""
        found = []
        for order_id in self.ids:
            order = (await self.order.get(f"/orders/{order_id}")).json()
            scm = (await self.scm.get(f"/orders/{order_id}")).json()
            live = [each for each in scm.get("invoices", ()) if each["status"] != "VOID"]
            found.append((order["status"], scm.get("status"), len(live)))
        return found


def publishing(listeners: list[Listener]) -> ApplicationEventPublisher:
    return ApplicationEventPublisher([*listeners, EventLog()])


@pytest.fixture
async def landscape(order_database: str, scm_database: str) -> AsyncIterator[Landscape]:
    development: dict[str, Any] = {"environment": "development"}
    order_app = order_main.create_app(OrderSettings(database_url=order_database, **development))
    scm_app = scm_main.create_app(ScmSettings(database_url=scm_database, **development))
    adapter_app, signal = create_adapter(AdapterSettings(**development)), inventory.AllocationSignal()
    async with (
        calling(order_app) as order,
        calling(scm_app) as scm,
        calling(adapter_app) as adapter,
        connect(order_database, publishing([])) as of_order,
        connect(scm_database, publishing(scm_main.listeners(OrderClient(order, URL, {}), signal))) as of_scm,
    ):
        for app, database in ((order_app, of_order), (scm_app, of_scm)):
            components(app).add(database)
            app.include_router(reconciliation.router)
        databases = {"order": of_order, "scm": of_scm}
        relays = [
            Relay(
                databases[name],
                EventLog(),
                HttpSink(adapter, URL, source=name, headers=bearer(development_token(name))),
            )
            for name in databases
        ]
        yield Landscape(order, scm, adapter_app, databases, relays, inventory.Allocation(of_scm, signal))


# The database is emptied before every example, so the fixture may be shared by them.
# Without a minimum size, hypothesis makes most histories too short for anything to happen.
limited = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# An order is invoiced, its address changed or the order cancelled, and its parcel dispatched before SCM
# receives that; and an order is short until goods are received. Random histories rarely contain these.
INVOICED = [("complete", 0), ("deliver", AT_SCM)]
DISPATCHED_BEFORE_CHANGE = [*INVOICED, ("address", 0), ("dispatched", 0)]
DISPATCHED_BEFORE_CANCELLATION = [*INVOICED, ("cancel", 0), ("dispatched", 0), ("delivered", 0)]
PURCHASED = [*INVOICED, ("goods", 0)]


@limited
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=DISPATCHED_BEFORE_CHANGE, faults=Faults())
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=DISPATCHED_BEFORE_CANCELLATION, faults=Faults())
@example(orders=[{"A": 1}] * ORDERS, stock=0, steps=PURCHASED, faults=Faults())
@given(
    orders=lines,
    stock=st.integers(0, 8),
    steps=st.lists(customer_steps | other_steps | delivery_steps, min_size=20, max_size=60),
    faults=random_faults,
)
async def test_both_services_end_in_the_same_state(
    landscape: Landscape, orders: list[dict[str, int]], stock: int, steps: list[Step], faults: Faults
) -> None:
    """Including shortages, receipts and dispatches before a cancellation arrives: reconciliation finds no
    difference, stock balances, and every dispatched order has one live invoice."""
    await landscape.reset(orders, stock, faults)
    for step in steps:
        await landscape.take(step)
    await landscape.settle()
    assert (await compare(landscape.order, landscape.scm)).differences == []


@limited
@given(
    orders=lines,
    steps=st.lists(customer_steps | delivery_steps, min_size=10, max_size=40),
    faults=random_faults,
)
async def test_the_order_of_arrival_is_irrelevant(
    landscape: Landscape, orders: list[dict[str, int]], steps: list[Step], faults: Faults
) -> None:
    """The same commands end in the same state, whether messages arrive at once, or late, reordered and
    duplicated. Stock is sufficient, so that orders do not depend on each other."""
    await landscape.reset(orders, stock=100, faults=Faults())
    for step in steps:
        if step[0] != "deliver":
            await landscape.take(step)
            await landscape.settle()
    in_order = await landscape.states()
    await landscape.reset(orders, stock=100, faults=faults)
    for step in steps:
        await landscape.take(step)
    await landscape.settle()
    assert await landscape.states() == in_order
