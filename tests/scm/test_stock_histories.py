"""Stock under random histories: sequential against a model, and concurrent."""

import asyncio
import itertools
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snsqs import Unavailable

from services.scm import inventory
from services.scm.events import GoodsReceived
from services.scm.inventory import OrderStock
from tests.scm.warehouse import Warehouse, articles
from tests.serving import eventually

SKUS = ("cup", "mug", "tray")

_numbers = itertools.count(1)

Lines = dict[str, int]
Step = tuple[str, Any]


@dataclass
class Model:
    """Model of stock and waiting orders, served first come, first served."""

    on_hand: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, Lines] = field(default_factory=dict)
    reserved: dict[str, Lines] = field(default_factory=dict)

    def order(self, order_id: str, lines: Lines) -> None:
        self.waiting[order_id] = lines
        self.serve()

    def withdraw(self, order_id: str) -> None:
        self.waiting.pop(order_id, None)
        self.reserved.pop(order_id, None)
        self.serve()

    def dispatch(self, order_id: str) -> None:
        self.on_hand.subtract(self.reserved.pop(order_id, {}))

    def count(self, sku: str, pieces: int) -> bool:
        """Return False when more is reserved."""
        if pieces < self.reserved_of(sku):
            return False
        self.on_hand[sku] = pieces
        self.serve()
        return True

    def receive(self, lines: Lines) -> None:
        self.on_hand.update(lines)
        self.serve()

    def serve(self) -> None:
        claimed: Counter[str] = Counter()
        for order_id, lines in list(self.waiting.items()):
            if all(self.free(sku) - claimed[sku] >= wanted for sku, wanted in lines.items()):
                self.reserved[order_id] = self.waiting.pop(order_id)
            else:
                claimed.update(lines)

    def free(self, sku: str) -> int:
        return self.on_hand[sku] - self.reserved_of(sku)

    def reserved_of(self, sku: str) -> int:
        return sum(lines.get(sku, 0) for lines in self.reserved.values())


lines_of_an_order = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 6), min_size=1)
some_order = st.integers(0, 9)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("order"), lines_of_an_order),
    st.tuples(st.just("receive"), lines_of_an_order),
    st.tuples(st.just("count"), st.tuples(st.sampled_from(SKUS), st.integers(0, 12))),
    st.tuples(st.just("withdraw"), some_order),
    st.tuples(st.just("dispatch"), some_order),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=5, max_size=20))
async def test_a_history_ends_like_the_model(warehouse: Warehouse, history: list[Step]) -> None:
    """After every step the same orders wait, in the same sequence, and the same goods are reserved."""
    example = _Example(warehouse, f"-{next(_numbers)}")
    async with warehouse.allocating():
        for kind, what in history:
            await example.take(kind, what)
            await eventually(example.equals_model)


class _Example:
    """History of one example. Its articles are its own, so that examples can share the database."""

    def __init__(self, warehouse: Warehouse, suffix: str) -> None:
        self.warehouse = warehouse
        self.model = Model()
        self.order_ids: list[str] = []
        self._suffix = suffix

    async def take(self, kind: str, what: Any) -> None:
        match kind:
            case "order":
                lines = self._own(what)
                order_id = await self.warehouse.order(**lines)
                self.order_ids.append(order_id)
                self.model.order(order_id, lines)
            case "receive":
                await receive(self.warehouse, self._own(what))
                self.model.receive(self._own(what))
            case "count":
                sku, pieces = what
                path = f"/back-office/stock/{sku}{self._suffix}"
                response = await self.warehouse.http.put(path, json={"onHand": pieces})
                assert (response.status_code == 200) == self.model.count(sku + self._suffix, pieces)
            case "withdraw" if order_id := self._order(what):
                await self.warehouse.withdraw(order_id)
                self.model.withdraw(order_id)
            case "dispatch" if (order_id := self._order(what)) in self.model.reserved:
                await self.warehouse.dispatch(order_id)
                self.model.dispatch(order_id)

    async def equals_model(self) -> bool:
        """Stock and orders equal the model."""
        async with self.warehouse.database.connection() as connection:
            found = await inventory.stock_of_orders(connection, self.order_ids)
            accounts = {each.sku: each for each in await inventory.stock_accounts(connection, "", 1000)}
        waiting = [order_id for order_id in self.order_ids if found[order_id].waiting_since]
        reserved = {order_id: lines for order_id in self.order_ids if (lines := open_lines(found[order_id]))}
        if (waiting, reserved) != (list(self.model.waiting), self.model.reserved):
            return False
        for sku in (f"{each}{self._suffix}" for each in SKUS):
            if account := accounts.get(sku):
                assert account.on_hand == account.moved == self.model.on_hand[sku]
                assert account.reserved == account.reserved_for_orders == self.model.reserved_of(sku)
        return True

    def _own(self, lines: Lines) -> Lines:
        return {sku + self._suffix: quantity for sku, quantity in lines.items()}

    def _order(self, number: int) -> str:
        return self.order_ids[number] if number < len(self.order_ids) else ""


@pytest.mark.parametrize("seed", range(2))
async def test_concurrent_steps_lose_no_piece_and_sell_none_twice(warehouse: Warehouse, seed: int) -> None:
    """Orders, withdrawals, dispatches, counts and receipts, a dozen at a time, with two allocations and an
    Order service that fails at times: no deadlock, balances equal their records, an order has all of its
    goods or none, and in the end no order waits for goods in stock."""
    concurrent = _ConcurrentSteps(warehouse, random.Random(seed))
    async with (
        warehouse.allocating(max_backoff=0.1),
        warehouse.allocating(inventory.AllocationSignal(), poll_interval=0.1, max_backoff=0.1),
    ):
        await concurrent.run(steps=250, concurrency=12)
        warehouse.invoicing.errors.clear()
        await eventually(concurrent.no_order_waits_for_stock)
    await concurrent.check_balances()


class _ConcurrentSteps:
    def __init__(self, warehouse: Warehouse, chance: random.Random) -> None:
        self.warehouse = warehouse
        self.chance = chance
        self.orders: dict[str, Lines] = {}
        self.withdrawn: set[str] = set()

    async def run(self, *, steps: int, concurrency: int) -> None:
        queue = iter(range(steps))

        async def run_steps() -> None:
            for _ in queue:
                await self.chance.choices(
                    [self.order, self.withdraw, self.dispatch, self.count, self.supply],
                    weights=[10, 3, 3, 2, 5],
                )[0]()

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(run_steps())

    async def order(self) -> None:
        skus = self.chance.sample(SKUS, self.chance.randint(1, 3))
        lines = {sku: self.chance.randint(1, 5) for sku in skus}
        with suppress(Unavailable):  # redelivered as another order
            self.orders[await self.warehouse.order(**lines)] = lines

    async def withdraw(self) -> None:
        if order_id := self._some_order():
            await self.warehouse.withdraw(order_id)
            self.withdrawn.add(order_id)

    async def dispatch(self) -> None:
        if order_id := self._some_order():
            await self.warehouse.dispatch(order_id)

    async def count(self) -> None:
        path = f"/back-office/stock/{self.chance.choice(SKUS)}"
        response = await self.warehouse.http.put(path, json={"onHand": self.chance.randint(0, 60)})
        assert response.status_code in (200, 409)
        self.warehouse.invoicing.errors.clear()
        if self.chance.random() < 0.3:
            self.warehouse.invoicing.errors["all"] = Unavailable("order service unavailable")

    async def supply(self) -> None:
        """Confirm a purchase order and report one of its lines as received, twice."""
        path = "/partner-office/purchase-orders"
        found = [each for each in await self.warehouse.get(path) if each["status"] != "RECEIVED"]
        if not found:
            return
        chosen = self.chance.choice(found)
        line = self.chance.choice(chosen["lines"])
        await self.warehouse.http.post(f"{path}/{chosen['id']}/confirm")
        body = {
            "deliveryNote": f"note-{self.chance.random()}",
            "lines": [{"sku": line["sku"], "quantity": max(1, line["quantity"] - line["received"])}],
        }
        answers = [await self.warehouse.http.post(f"{path}/{chosen['id']}/receive", json=body) for _ in "12"]
        assert {answer.status_code for answer in answers} <= {200, 409}

    def _some_order(self) -> str | None:
        return self.chance.choice(list(self.orders)) if self.orders else None

    async def no_order_waits_for_stock(self) -> bool:
        """No order waits whose goods are in stock."""
        stock = {each["sku"]: each["available"] for each in await self.warehouse.get("/back-office/stock")}
        for waiting in await self.warehouse.get("/back-office/waiting-orders", limit=1000):
            lines = {line["sku"]: line["quantity"] for line in waiting["lines"]}
            if all(stock[sku] >= quantity for sku, quantity in lines.items()):
                return False
            for sku, quantity in lines.items():
                stock[sku] -= quantity
        return True

    async def check_balances(self) -> None:
        async with self.warehouse.database.connection() as connection:
            accounts = await inventory.stock_accounts(connection, "", 1000)
            found = await inventory.stock_of_orders(connection, list(self.orders))
        for account in accounts:
            assert account.on_hand == account.moved >= account.reserved == account.reserved_for_orders >= 0
        for order_id, lines in self.orders.items():
            assert all_lines(found[order_id]) in ({}, lines)
            assert not (found[order_id].waiting_since and found[order_id].reservations)
        for order_id in self.withdrawn:
            assert found[order_id].waiting_since is None
            assert open_lines(found[order_id]) == {}


async def receive(warehouse: Warehouse, lines: Lines) -> None:
    async with warehouse.database.transaction() as tx:
        await tx.publish(GoodsReceived(articles(lines), "a delivery note"))


def open_lines(stock: OrderStock) -> Lines:
    return {each.sku: each.quantity for each in stock.reservations if each.status == "OPEN"}


def all_lines(stock: OrderStock) -> Lines:
    return {each.sku: each.quantity for each in stock.reservations}
