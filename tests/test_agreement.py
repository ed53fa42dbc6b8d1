"""G4: whatever customers, carriers and suppliers do, and however often and in whatever order messages arrive,
Order and SCM end in the same story.

Both services are real, with their databases; the adapter decides with its real routes. Between the adapter
and the queues is a post that keeps every copy of a message until the test says which one arrives next.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.reconcile import differences, read_books
from services.adapter.bridge import Bridge
from services.adapter.main import create_app as create_adapter
from services.adapter.routes import read_routes
from services.adapter.settings import Settings as AdapterSettings
from services.order import main as order_main
from services.order.settings import Settings as OrderSettings
from services.scm import inventory
from services.scm import main as scm_main
from services.scm.delivery import Orders
from services.scm.settings import Settings as ScmSettings
from shared import reconciliation
from shared.events import ApplicationEventPublisher, Listener
from shared.inbox import Inbox
from shared.messaging import Delivery, Message, MessagingError, bindings
from shared.messaging.handler import compose, dispatch
from shared.outbox import EventLog, outcome
from shared.outbox.adapter import AdapterClient
from shared.outbox.relay import CLAIM
from shared.postgres import Database, connect
from shared.tokens import DEVELOPMENT_SERVICE
from tests.serving import URL, calling
from tests.test_order_api import ORDER

CONSUMED = [*bindings(order_main.HANDLERS), *bindings(scm_main.HANDLERS)]
ARTICLES = ("A", "B")
ORDERS = 4

which = st.integers(0, ORDERS - 1)
customers = st.tuples(
    st.sampled_from(["complete", "complete", "complete", "cancel", "address", "memo"]), which
)
others = st.tuples(st.sampled_from(["dispatched", "dispatched", "delivered", "goods"]), which)
arrivals = st.tuples(st.sampled_from(["arrives", "arrives", "arrives twice"]), st.integers(0, 50))
lines = st.lists(
    st.dictionaries(st.sampled_from(ARTICLES), st.integers(1, 3), min_size=1),
    min_size=ORDERS,
    max_size=ORDERS,
)
Step = tuple[str, int]


@dataclass
class Post:
    """A MessageChannel: what is sent is kept, a copy for each queue whose handlers take it."""

    under_way: list[tuple[str, Message[str]]] = field(default_factory=list)

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        for message in messages:
            takers = [each.queue for each in CONSUMED if message.type in each.event_types]
            self.under_way += [(queue, message) for queue in takers]
        return [message.id for message in messages]


@dataclass
class World:
    """The two services and what is between them."""

    order: httpx.AsyncClient
    scm: httpx.AsyncClient
    databases: dict[str, Database]
    relays: dict[str, AdapterClient]
    allocation: inventory.Allocation
    post: Post
    ids: list[str] = field(default_factory=list)

    async def begin(self, orders: Sequence[dict[str, int]], stock: int) -> None:
        for database in self.databases.values():
            async with database.connection() as connection:
                tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                names = [each["tablename"] for each in tables if "yoyo" not in each["tablename"]]
                await connection.execute(f"TRUNCATE {', '.join(names)}")
        self.post.under_way.clear()
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
        if what.startswith("arrives"):
            await self.arrive(number, twice=what == "arrives twice")
            return
        order_id = self.ids[number]
        if what in ("dispatched", "delivered"):
            invoices = (await self.scm.get("/external-api/invoices", params={"orderId": order_id})).json()
            for invoice in invoices:
                await self.scm.post(f"/external-api/invoices/{invoice['id']}/{what}")
        elif what == "goods":
            await self._goods()
        elif what == "address":
            address = ORDER["deliveryAddress"] | {"street": f"{len(self.post.under_way)} Sejong-daero"}
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
        for name, database in self.databases.items():
            async with database.connection() as connection, connection.transaction():
                if batch := await connection.fetch(CLAIM, 100):
                    decided, failed = outcome.by_event(batch, await self.relays[name].decide(batch))
                    assert not failed
                    await outcome.record_decided(connection, decided)

    async def arrive(self, number: int, *, twice: bool = False) -> None:
        """One of the messages under way is delivered; twice means that a copy of it is still to come."""
        if not self.post.under_way:
            return
        place = number % len(self.post.under_way)
        queue, message = self.post.under_way[place] if twice else self.post.under_way.pop(place)
        await self.handlers[queue](Delivery(message, queue, 1, datetime.now(UTC)))
        await self.relay()

    async def settle(self, seed: int = 0) -> None:
        """Everything arrives, one way or another, and who waits is served."""
        await self.relay()
        while True:
            while self.post.under_way:
                await self.arrive(seed)
            await self.allocation.serve_batch()
            await self.relay()
            if not self.post.under_way:
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

    @property
    def handlers(self) -> dict[str, Any]:
        order, scm = (
            {
                each.queue: compose(dispatch(each), [Inbox(self.databases[name])])
                for each in bindings(handlers)
            }
            for name, handlers in (("order", order_main.HANDLERS), ("scm", scm_main.HANDLERS))
        )
        return order | scm


def publishing(listeners: list[Listener]) -> ApplicationEventPublisher:
    return ApplicationEventPublisher([*listeners, EventLog()])


@pytest.fixture
async def world(order_database: str, scm_database: str) -> AsyncIterator[World]:
    development: dict[str, Any] = {"environment": "development"}
    order_app = order_main.create_app(OrderSettings(database_url=order_database, **development))
    scm_app = scm_main.create_app(ScmSettings(database_url=scm_database, **development))
    adapter_settings = AdapterSettings(**development)
    adapter_app, post, bell = create_adapter(adapter_settings), Post(), inventory.Bell()
    routes = read_routes(adapter_settings.routes_file)
    adapter_app.state.bridge = Bridge(routes, dict.fromkeys(routes.topics, post))
    async with (
        calling(order_app) as order,
        calling(scm_app) as scm,
        calling(adapter_app) as adapter,
        connect(order_database, publishing([])) as of_order,
        connect(scm_database, publishing(scm_main.listeners(Orders(order, URL), bell))) as of_scm,
    ):
        for app, database in ((order_app, of_order), (scm_app, of_scm)):
            app.state.database = database
            app.include_router(reconciliation.router)
        relays = {
            name: AdapterClient(adapter, URL, token=DEVELOPMENT_SERVICE, source=name, timeout=5)
            for name in ("order", "scm")
        }
        databases = {"order": of_order, "scm": of_scm}
        yield World(order, scm, databases, relays, inventory.Allocation(of_scm, bell), post)


# The database is emptied before every example, so the fixture may be shared by them.
# Without a least size of its histories, hypothesis makes most of them too short for anything to happen.
some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# An order is invoiced, its address changed or the order cancelled, and its parcel dispatched before SCM hears
# of that; and one is short until the supplier has brought the goods. Chance seldom finds these.
INVOICED = [("complete", 0), ("arrives", 0)]
LEFT_BEFORE = [*INVOICED, ("address", 0), ("dispatched", 0)]
CANCELLED_TOO_LATE = [*INVOICED, ("cancel", 0), ("dispatched", 0), ("delivered", 0)]
BOUGHT = [*INVOICED, ("goods", 0)]


@some
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=LEFT_BEFORE, seed=0)
@example(orders=[{"A": 1}] * ORDERS, stock=8, steps=CANCELLED_TOO_LATE, seed=0)
@example(orders=[{"A": 1}] * ORDERS, stock=0, steps=BOUGHT, seed=0)
@given(
    orders=lines,
    stock=st.integers(0, 8),
    steps=st.lists(customers | others | arrivals, min_size=20, max_size=60),
    seed=which,
)
async def test_both_sides_end_in_the_same_story(
    world: World, orders: list[dict[str, int]], stock: int, steps: list[Step], seed: int
) -> None:
    """Also with too little stock, carriers that are faster than cancellations, and suppliers: nothing that
    reconciliation looks at differs, stock adds up, and every order with a parcel has one live invoice."""
    await world.begin(orders, stock)
    for step in steps:
        await world.do(step)
    await world.settle(seed)
    assert list(differences(await read_books(world.order, world.scm))) == []


@some
@given(
    orders=lines,
    steps=st.lists(customers, min_size=5, max_size=12),
    arriving=st.lists(arrivals, max_size=30),
    seed=which,
)
async def test_the_order_of_arrival_does_not_matter(
    world: World, orders: list[dict[str, int]], steps: list[Step], arriving: list[Step], seed: int
) -> None:
    """The same commands end in the same state, whether each message arrives at once, or all of them come
    late, mixed up and repeated. There is enough in stock, so that no order's luck is another one's."""
    await world.begin(orders, stock=100)
    for step in steps:
        await world.do(step)
        await world.settle()
    in_order = await world.states()
    await world.begin(orders, stock=100)
    for step in [*steps, *arriving]:
        await world.do(step)
    await world.settle(seed)
    assert await world.states() == in_order
