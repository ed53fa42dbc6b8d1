"""G4: whatever customers, carriers and suppliers do, and however often and in whatever order messages arrive,
Order and SCM end in the same story.

Both services are real, with their databases; the adapter decides with its real routes. Topics and queues are
the simulator's, which reorders, doubles and delays by a seed; a queue gives out its next message when the
history says so.
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
from snsqs import Delivery, MessageConverter, bindings
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.inbox import Inbox
from snsqs.outbox import EventLog, Relay
from snsqs.outbox.http import HttpSink
from snsqs.postgres import Database, connect
from snsqs.testing import Faults, MemoryBroker, MemoryQueue, message_handler

from local.reconcile import differences, read_books
from services.adapter.bridge import Bridge
from services.adapter.decisions import Decisions
from services.adapter.main import create_app as create_adapter
from services.adapter.routes import read_routes
from services.adapter.settings import Settings as AdapterSettings
from services.order import main as order_main
from services.order.settings import Settings as OrderSettings
from services.scm import inventory
from services.scm import main as scm_main
from services.scm.delivery import OrderClient
from services.scm.settings import Settings as ScmSettings
from shared.operations import reconciliation
from shared.runtime.tokens import DEVELOPMENT_SERVICE, bearer
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

which = st.integers(0, ORDERS - 1)
customers = st.tuples(
    st.sampled_from(["complete", "complete", "complete", "cancel", "address", "memo"]), which
)
others = st.tuples(st.sampled_from(["dispatched", "dispatched", "delivered", "goods"]), which)
arrivals = st.tuples(st.just("arrives"), st.integers(0, len(CONSUMED) - 1))
lines = st.lists(
    st.dictionaries(st.sampled_from(ARTICLES), st.integers(1, 3), min_size=1),
    min_size=ORDERS,
    max_size=ORDERS,
)
shaky = st.builds(
    Faults,
    seed=st.integers(0, 2**32),
    duplicate=st.floats(0, 0.5),
    reorder=st.floats(0, 1),
    delay=st.floats(0, 0.5),
    max_delay=st.just(0.05),  # PostgreSQL's clock is a real one, so this is really waited for
)
Step = tuple[str, int]


@dataclass
class World:
    """The two services and what is between them."""

    order: httpx.AsyncClient
    scm: httpx.AsyncClient
    adapter: FastAPI
    databases: dict[str, Database]
    relays: Sequence[Relay]
    allocation: inventory.Allocation
    queues: list[MemoryQueue] = field(default_factory=list)
    """Of what CONSUMED lists."""
    ids: list[str] = field(default_factory=list)
    houses: Iterator[int] = field(default_factory=itertools.count)

    async def begin(self, orders: Sequence[dict[str, int]], stock: int, faults: Faults) -> None:
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
        answer = await self.order.post("/orders", json=ORDER | {"orderLines": order_lines})
        return str(answer.json()["id"])

    async def do(self, step: Step) -> None:
        """What does not fit the order's state is refused, as in life."""
        what, number = step
        if what == "arrives":
            await self.arrive(number)
            return
        order_id = self.ids[number]
        if what in ("dispatched", "delivered"):
            invoices = (await self.scm.get("/external-api/invoices", params={"orderId": order_id})).json()
            for invoice in invoices:
                await self.scm.post(f"/external-api/invoices/{invoice['id']}/{what}")
        elif what == "goods":
            await self._goods()
        elif what == "address":
            address = ORDER["deliveryAddress"] | {"street": f"{next(self.houses)} Sejong-daero"}
            await self.order.put(f"/orders/{order_id}/delivery-address", json=address)
        elif what == "memo":
            await self.order.put(f"/orders/{order_id}/memo", json={"memo": "call before noon"})
        else:
            await self.order.post(f"/orders/{order_id}/{what}")
        await self.relay()

    async def _goods(self) -> None:
        """The supplier brings all that was ordered of it."""
        for bought in (await self.scm.get("/partner-office/purchase-orders")).json():
            path = f"/partner-office/purchase-orders/{bought['id']}"
            await self.scm.post(f"{path}/confirm")
            left = [{"sku": each["sku"], "quantity": each["quantity"]} for each in bought["lines"]]
            await self.scm.post(f"{path}/receive", json={"deliveryNote": "DN", "lines": left})

    async def relay(self) -> None:
        """Takes every event to the adapter, which sends on what leaves."""
        for relay in self.relays:
            while await relay.relay_batch():
                pass
            backlog = await relay.backlog()
            assert (backlog.waiting, backlog.parked) == (0, 0)

    async def arrive(self, number: int, *, wait: int = 0) -> None:
        """The next message of one of the queues is handled, if one is there within so many seconds."""
        (service, binding), queue = CONSUMED[number], self.queues[number]
        handle = message_handler(binding, [Inbox(self.databases[service])])
        for received in await queue.receive(limit=1, wait=wait, visibility=30):
            message = MessageConverter().to_message(received.body, received.attributes)
            await handle(Delivery((message,), queue.name, received.receive_count, received.received_at))
            await queue.delete([received.receipt_handle])
            await self.relay()

    async def settle(self) -> None:
        """Everything arrives, sooner or later, and who waits is served."""
        await self.relay()
        while True:
            while waiting := [number for number, queue in enumerate(self.queues) if not queue.is_empty]:
                for number in waiting:
                    await self.arrive(number, wait=1)
            await self.allocation.serve_batch()
            await self.relay()
            if all(queue.is_empty for queue in self.queues):
                return

    async def states(self) -> list[tuple[str, str | None, int]]:
        """Of each order: its status, SCM's, and its live invoices."""
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
async def world(order_database: str, scm_database: str) -> AsyncIterator[World]:
    development: dict[str, Any] = {"environment": "development"}
    order_app = order_main.create_app(OrderSettings(database_url=order_database, **development))
    scm_app = scm_main.create_app(ScmSettings(database_url=scm_database, **development))
    adapter_app, signal = create_adapter(AdapterSettings(**development)), inventory.AllocationSignal()
    async with (
        calling(order_app) as order,
        calling(scm_app) as scm,
        calling(adapter_app) as adapter,
        connect(order_database, publishing([])) as of_order,
        connect(scm_database, publishing(scm_main.listeners(OrderClient(order, URL), signal))) as of_scm,
    ):
        for app, database in ((order_app, of_order), (scm_app, of_scm)):
            components(app).add(database)
            app.include_router(reconciliation.router)
        databases = {"order": of_order, "scm": of_scm}
        relays = [
            Relay(
                databases[name],
                EventLog(),
                HttpSink(adapter, URL, source=name, headers=bearer(DEVELOPMENT_SERVICE)),
            )
            for name in databases
        ]
        yield World(order, scm, adapter_app, databases, relays, inventory.Allocation(of_scm, signal))


# The database is emptied before every example, so the fixture may be shared by them.
# Without a least size of its histories, hypothesis makes most of them too short for anything to happen.
some = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# An order is invoiced, its address changed or the order cancelled, and its parcel dispatched before SCM hears
# of that; and one is short until the supplier has brought the goods. Chance seldom finds these.
INVOICED = [("complete", 0), ("arrives", AT_SCM)]
LEFT_BEFORE = [*INVOICED, ("address", 0), ("dispatched", 0)]
CANCELLED_TOO_LATE = [*INVOICED, ("cancel", 0), ("dispatched", 0), ("delivered", 0)]
BOUGHT = [*INVOICED, ("goods", 0)]


@some
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=LEFT_BEFORE, faults=Faults())
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=CANCELLED_TOO_LATE, faults=Faults())
@example(orders=[{"A": 1}] * ORDERS, stock=0, steps=BOUGHT, faults=Faults())
@given(
    orders=lines,
    stock=st.integers(0, 8),
    steps=st.lists(customers | others | arrivals, min_size=20, max_size=60),
    faults=shaky,
)
async def test_both_sides_end_in_the_same_story(
    world: World, orders: list[dict[str, int]], stock: int, steps: list[Step], faults: Faults
) -> None:
    """Also with too little stock, carriers that are faster than cancellations, and suppliers: nothing that
    reconciliation looks at differs, stock adds up, and every order with a parcel has one live invoice."""
    await world.begin(orders, stock, faults)
    for step in steps:
        await world.do(step)
    await world.settle()
    assert list(differences(await read_books(world.order, world.scm))) == []


@some
@given(orders=lines, steps=st.lists(customers | arrivals, min_size=10, max_size=40), faults=shaky)
async def test_the_order_of_arrival_does_not_matter(
    world: World, orders: list[dict[str, int]], steps: list[Step], faults: Faults
) -> None:
    """The same commands end in the same state, whether each message arrives at once, or they come late, mixed
    up and repeated. There is enough in stock, so that no order's luck is another one's."""
    await world.begin(orders, stock=100, faults=Faults())
    for step in steps:
        if step[0] != "arrives":
            await world.do(step)
            await world.settle()
    in_order = await world.states()
    await world.begin(orders, stock=100, faults=faults)
    for step in steps:
        await world.do(step)
    await world.settle()
    assert await world.states() == in_order
