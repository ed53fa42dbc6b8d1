"""SCM's warehouse under test: inventory and purchase with a database of their own, told by in-process events
and asked over REST."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, Transaction, connect

from services.scm import inventory, purchase
from services.scm.events import FulfilmentWithdrawn, GoodsOrdered, GoodsReserved, Line, ParcelHandedOver
from services.scm.main import create_app
from services.scm.settings import Settings
from services.scm.turn import take_turn
from shared.web import components
from tests.serving import OPERATOR, eventually
from tests.snsqs.relays import running

_numbers = itertools.count(1)


class Witness:
    """An ApplicationListener: remembers what was published and committed."""

    def __init__(self) -> None:
        self.events: list[object] = []

    async def on_application_event(self, event: object, tx: Transaction) -> None:
        async def remember() -> None:
            self.events.append(event)

        tx.after_commit(remember)


class Invoicing:
    """An ApplicationListener in the place of delivery: raises what it is told to, as when the Order service
    is away or does not know the order."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.is_answered = asyncio.Event()
        self.is_answered.set()

    async def on_application_event(self, event: GoodsReserved, _: Transaction) -> None:
        self.asked.append(event.order_id)
        await self.is_answered.wait()
        if error := self.errors.get(event.order_id, self.errors.get("all")):
            raise error


class Rung(asyncio.Event):
    """A bell's sound that knows whether somebody waits for it."""

    is_awaited = False

    async def wait(self) -> Literal[True]:
        self.is_awaited = True
        try:
            return await super().wait()
        finally:
            self.is_awaited = False


class Warehouse:
    """The doors: what the other modules publish, the back office, the partner office."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bell = inventory.Bell()
        self.bell.rung = self.rung = Rung()
        self.invoicing = Invoicing()
        self.witness = Witness()
        self.publisher = ApplicationEventPublisher(
            [
                inventory.reserve_goods,
                inventory.release_goods,
                inventory.take_in_goods,
                inventory.let_goods_go,
                self.bell,
                purchase.buy_what_is_missing,
                self.invoicing,
                self.witness,
            ]
        )
        self.database: Database
        self.http: httpx.AsyncClient

    async def publish(self, event: Any) -> None:
        """As the listener and the carrier do: it is the order's turn."""
        async with self.database.transaction() as tx:
            await take_turn(tx, event.order_id)
            await tx.publish(event)

    async def order(self, **lines: int) -> str:
        """A new order; returns its id."""
        order_id = f"{next(_numbers):020}"
        await self.publish(GoodsOrdered(order_id, articles(lines)))
        return order_id

    async def withdraw(self, order_id: str) -> None:
        await self.publish(FulfilmentWithdrawn(order_id))

    async def hand_over(self, order_id: str) -> None:
        await self.publish(ParcelHandedOver(order_id, f"invoice of {order_id}"))

    async def count(self, **on_hand: int) -> None:
        for sku, pieces in on_hand.items():
            answer = await self.http.put(f"/back-office/stock/{sku}", json={"onHand": pieces})
            answer.raise_for_status()

    async def stock(self, sku: str) -> tuple[int, int]:
        """On hand, and of that reserved."""
        [row] = [each for each in await self.get("/back-office/stock") if each["sku"] == sku]
        return row["onHand"], row["reserved"]

    async def is_waiting(self, order_id: str) -> bool:
        return order_id in await self.waiting()

    async def serves(self, *order_ids: str) -> None:
        """Waits until none of the orders waits any more."""

        async def none_is_left() -> bool:
            """The orders do not wait any more."""
            return not set(order_ids) & set(await self.waiting())

        await eventually(none_is_left)

    async def rests(self) -> None:
        """Waits until the allocation that hears the bell has nothing to do."""

        async def nothing_to_do() -> bool:
            """The allocation rests."""
            return self.rung.is_awaited and not self.rung.is_set()

        await eventually(nothing_to_do)

    async def waiting(self) -> list[str]:
        """The ids of the orders that wait, oldest first."""
        return [each["orderId"] for each in await self.get("/back-office/waiting-orders")]

    async def get(self, path: str, **params: Any) -> Any:
        return (await self.http.get(path, params=params)).raise_for_status().json()

    @asynccontextmanager
    async def allocating(
        self, bell: inventory.Bell | None = None, **options: Any
    ) -> AsyncIterator[inventory.Allocation]:
        """Allocates until the body ends, which begins when the allocation rests. The poll is so slow that
        only the bell can wake it."""
        settings = inventory.AllocationOptions(**({"poll": 60} | options))
        allocation = inventory.Allocation(self.database, bell or self.bell, settings)
        async with running(allocation):
            await self.rests()
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
        httpx.AsyncClient(transport=transport, headers=OPERATOR, base_url="http://scm") as http,
    ):
        components(app).add(database)
        warehouse.database = database
        warehouse.http = http
        yield warehouse
