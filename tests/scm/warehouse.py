"""Inventory and purchase with a database of their own, driven by in-process events and REST."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, Transaction, connect

from services.scm import inventory, purchase
from services.scm.events import FulfilmentOpened, FulfilmentWithdrawn, GoodsReserved, Line, ParcelHandedOver
from services.scm.main import create_app
from services.scm.order_lock import lock_order
from services.scm.settings import Settings
from shared.web import components
from tests.serving import OPERATOR, URL, eventually
from tests.snsqs.relays import running

_numbers = itertools.count(1)


class EventRecorder:
    """ApplicationListener that records committed events."""

    def __init__(self) -> None:
        self.events: list[object] = []

    async def on_application_event(self, event: object, tx: Transaction) -> None:
        async def record() -> None:
            self.events.append(event)

        tx.after_commit(record)


class FakeInvoicing:
    """ApplicationListener in place of delivery: raises the error set for an order, or for "all", as delivery
    does when the Order service is unavailable or does not know the order."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.attempts: list[str] = []
        self.may_proceed = asyncio.Event()
        self.may_proceed.set()

    async def on_application_event(self, event: GoodsReserved, _: Transaction) -> None:
        self.attempts.append(event.order_id)
        await self.may_proceed.wait()
        if error := self.errors.get(event.order_id, self.errors.get("all")):
            raise error


class ObservedEvent(asyncio.Event):
    """Event that shows whether a task waits for it."""

    is_awaited = False

    async def wait(self) -> Literal[True]:
        self.is_awaited = True
        try:
            return await super().wait()
        finally:
            self.is_awaited = False


class Warehouse:
    """Entry points: in-process events of other modules, back office API, partner office API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.signal = inventory.AllocationSignal()
        self.signal.woken = self.woken = ObservedEvent()
        self.invoicing = FakeInvoicing()
        self.recorder = EventRecorder()
        self.publisher = ApplicationEventPublisher(
            [
                inventory.reserve_goods,
                inventory.release_goods,
                inventory.receive_goods,
                inventory.dispatch_goods,
                self.signal,
                purchase.buy_missing_goods,
                self.invoicing,
                self.recorder,
            ]
        )
        self.database: Database
        self.http: httpx.AsyncClient

    async def publish(self, event: Any) -> None:
        """Publish an event under the order lock."""
        async with self.database.transaction() as tx:
            await lock_order(tx, event.order_id)
            await tx.publish(event)

    async def order(self, **lines: int) -> str:
        """Create an order and return its id."""
        order_id = f"{next(_numbers):020}"
        await self.publish(FulfilmentOpened(order_id, articles(lines)))
        return order_id

    async def withdraw(self, order_id: str) -> None:
        await self.publish(FulfilmentWithdrawn(order_id))

    async def dispatch(self, order_id: str) -> None:
        await self.publish(ParcelHandedOver(order_id, f"invoice of {order_id}"))

    async def count(self, **on_hand: int) -> None:
        for sku, pieces in on_hand.items():
            response = await self.http.put(f"/back-office/stock/{sku}", json={"onHand": pieces})
            response.raise_for_status()

    async def stock(self, sku: str) -> tuple[int, int]:
        """Return the pieces on hand and reserved."""
        [row] = [each for each in await self.get("/back-office/stock") if each["sku"] == sku]
        return row["onHand"], row["reserved"]

    async def is_waiting(self, order_id: str) -> bool:
        return order_id in await self.waiting()

    async def wait_until_served(self, *order_ids: str) -> None:
        async def is_served() -> bool:
            """The orders do not wait any more."""
            return not set(order_ids) & set(await self.waiting())

        await eventually(is_served)

    async def wait_until_idle(self) -> None:
        async def is_idle() -> bool:
            """The allocation waits for its signal."""
            return self.woken.is_awaited and not self.woken.is_set()

        await eventually(is_idle)

    async def waiting(self) -> list[str]:
        """Return the ids of the waiting orders, oldest first."""
        return [each["orderId"] for each in await self.get("/back-office/waiting-orders")]

    async def get(self, path: str, **params: Any) -> Any:
        return (await self.http.get(path, params=params)).raise_for_status().json()

    @asynccontextmanager
    async def allocating(
        self, signal: inventory.AllocationSignal | None = None, **options: Any
    ) -> AsyncIterator[inventory.Allocation]:
        """Run an allocation until the body ends, which begins when the allocation is idle. By default only
        the signal wakes it."""
        settings = inventory.AllocationOptions(**({"poll_interval": 60} | options))
        allocation = inventory.Allocation(self.database, signal or self.signal, settings)
        async with running(allocation):
            await self.wait_until_idle()
            yield allocation


def articles(lines: dict[str, int]) -> tuple[Line, ...]:
    return tuple(Line(sku, quantity) for sku, quantity in sorted(lines.items()))


@asynccontextmanager
async def warehouse_at(url: str) -> AsyncIterator[Warehouse]:
    warehouse = Warehouse(url)
    app = create_app(Settings(environment="development", database_url=url))
    transport = httpx.ASGITransport(app=app)
    async with (
        connect(url, warehouse.publisher) as database,
        httpx.AsyncClient(transport=transport, headers=OPERATOR, base_url=URL) as http,
    ):
        components(app).add(database)
        warehouse.database = database
        warehouse.http = http
        yield warehouse
