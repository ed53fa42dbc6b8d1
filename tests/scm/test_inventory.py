"""Inventory: reservations, waiting orders and their allocation; no piece is lost or sold twice."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from snsqs import TerminalError, Unavailable

from services.scm.events import FulfilmentOpened, GoodsReceived, GoodsReserved, GoodsShort, Line
from services.scm.inventory import Allocation, AllocationSignal
from tests.scm.warehouse import Warehouse, articles
from tests.serving import eventually
from tests.snsqs.relays import locked

TERMINATE_WAITING = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def receive(warehouse: Warehouse, **lines: int) -> None:
    async with warehouse.database.transaction() as tx:
        await tx.publish(GoodsReceived(articles(lines), "delivery note 1"))


async def retry(warehouse: Warehouse, order_id: str) -> None:
    (await warehouse.http.post(f"/back-office/waiting-orders/{order_id}/retry")).raise_for_status()


async def movements(warehouse: Warehouse, sku: str) -> list[tuple[int, str, str | None]]:
    found = await warehouse.get(f"/back-office/stock/{sku}/movements")
    return [(each["quantity"], each["reason"], each["reference"]) for each in found]


async def test_all_lines_are_reserved_or_none(warehouse: Warehouse) -> None:
    """Missing goods are published; available ones stay free for other orders."""
    await warehouse.count(mug=10, tray=1)
    served = await warehouse.order(mug=3, tray=1)
    short = await warehouse.order(cup=1, mug=2, tray=2)
    assert await warehouse.stock("mug") == (10, 3)
    assert await warehouse.stock("tray") == (1, 1)
    assert GoodsReserved(served) in warehouse.recorder.events
    assert GoodsShort(short, (Line("cup", 1), Line("tray", 2))) in warehouse.recorder.events
    assert await warehouse.waiting() == [short]


async def test_concurrent_orders_never_reserve_more_than_the_stock(warehouse: Warehouse) -> None:
    """Nor do they deadlock, whatever the order of their lines."""
    await warehouse.count(mug=10, tray=10)
    await asyncio.gather(*(warehouse.order(mug=2, tray=2) for _ in range(12)))
    assert await warehouse.stock("mug") == await warehouse.stock("tray") == (10, 10)
    assert len(await warehouse.waiting()) == 7


async def test_goods_of_a_withdrawn_order_are_released(warehouse: Warehouse) -> None:
    """Once, however often the event is published; a waiting order is served."""
    await warehouse.count(mug=10)
    first = await warehouse.order(mug=8)
    second = await warehouse.order(mug=5)
    async with warehouse.allocating():
        await warehouse.withdraw(first)
        await warehouse.wait_until_served(second)
        await warehouse.withdraw(first)
    assert await warehouse.stock("mug") == (10, 5)


async def test_dispatched_goods_are_not_on_hand(warehouse: Warehouse) -> None:
    """They can be neither released nor dispatched a second time."""
    await warehouse.count(mug=10)
    order_id = await warehouse.order(mug=3)
    await warehouse.dispatch(order_id)
    assert await warehouse.stock("mug") == (7, 0)
    await warehouse.dispatch(order_id)
    await warehouse.withdraw(order_id)
    assert await warehouse.stock("mug") == (7, 0)


async def test_the_ledger_records_every_movement(warehouse: Warehouse) -> None:
    """Each change of the pieces on hand is a movement with its reason and reference."""
    await warehouse.count(mug=10)
    await warehouse.count(mug=10)
    await receive(warehouse, mug=5)
    order_id = await warehouse.order(mug=3)
    await warehouse.dispatch(order_id)
    await warehouse.count(mug=11)
    assert await movements(warehouse, "mug") == [
        (10, "COUNTED", "developer"),
        (5, "RECEIVED", "delivery note 1"),
        (-3, "DISPATCHED", f"invoice of {order_id}"),
        (-1, "COUNTED", "developer"),
    ]


async def test_a_count_below_the_reservations_is_rejected(warehouse: Warehouse) -> None:
    """409 as problem details; nothing changes."""
    await warehouse.count(mug=10)
    await warehouse.order(mug=3)
    response = await warehouse.http.put("/back-office/stock/mug", json={"onHand": 2})
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert response.json()["detail"] == "3 of mug are reserved for orders, which is more than 2"
    assert await warehouse.stock("mug") == (10, 3)
    await warehouse.count(mug=3)


@pytest.mark.parametrize("freed_by", ["count", "receipt", "withdrawal"])
async def test_a_waiting_order_is_served_once_goods_are_free(warehouse: Warehouse, freed_by: str) -> None:
    """By the signal, whatever freed the goods: the poll interval is longer than the test."""
    await warehouse.count(mug=4)
    other = await warehouse.order(mug=4)
    order_id = await warehouse.order(mug=3)
    async with warehouse.allocating():
        match freed_by:
            case "count":
                await warehouse.count(mug=7)
            case "receipt":
                await receive(warehouse, mug=3)
            case "withdrawal":
                await warehouse.withdraw(other)
        await warehouse.wait_until_served(order_id)
    assert warehouse.recorder.events.count(GoodsReserved(order_id)) == 1


async def test_the_oldest_order_is_served_first(warehouse: Warehouse) -> None:
    """A later, smaller order never gets goods that the older one claims."""
    await warehouse.count(mug=3)
    large = await warehouse.order(mug=10)
    small = await warehouse.order(mug=1)
    async with warehouse.allocating():
        for count in range(4, 10):
            await warehouse.count(mug=count)
        assert await warehouse.waiting() == [large, small]
        await warehouse.count(mug=10)
        await warehouse.wait_until_served(large)
        assert await warehouse.waiting() == [small]
        await warehouse.count(mug=11)
        await warehouse.wait_until_served(small)


async def test_an_order_for_other_articles_does_not_wait(warehouse: Warehouse) -> None:
    """First come, first served applies per article."""
    await warehouse.count(mug=1, tray=5)
    await warehouse.order(mug=10)
    await warehouse.order(tray=5)
    assert await warehouse.stock("tray") == (5, 5)


async def test_a_withdrawn_waiting_order_gives_up_its_claim(warehouse: Warehouse) -> None:
    """Its goods are reserved for the next order."""
    await warehouse.count(mug=3)
    large = await warehouse.order(mug=10)
    small = await warehouse.order(mug=2)
    async with warehouse.allocating():
        await warehouse.withdraw(large)
        await warehouse.wait_until_served(small)
    assert await warehouse.waiting() == []
    assert await warehouse.stock("mug") == (3, 2)


async def test_no_attempt_is_counted_while_the_order_service_is_unavailable(warehouse: Warehouse) -> None:
    """The allocation is degraded; afterwards all orders are served."""
    orders = [await warehouse.order(mug=1) for _ in range(5)]
    warehouse.invoicing.errors["all"] = Unavailable("order service unavailable")
    async with warehouse.allocating(max_backoff=0.1) as allocation:
        await warehouse.count(mug=5)
        await eventually(lambda: is_degraded(allocation, "order service unavailable"))
        assert {each["attempts"] for each in await warehouse.get("/back-office/waiting-orders")} == {0}
        del warehouse.invoicing.errors["all"]
        await warehouse.wait_until_served(*orders)
        await eventually(lambda: is_degraded(allocation, None))


async def test_an_order_that_fails_delays_no_other(warehouse: Warehouse) -> None:
    """However it fails: it keeps its claim and is retried later; it is neither served twice nor lost."""
    orders = [await warehouse.order(mug=1) for _ in range(4)]
    warehouse.invoicing.errors[orders[0]] = Unavailable("HTTP 500, for this one only")
    warehouse.invoicing.errors[orders[1]] = ZeroDivisionError("a defect")
    async with warehouse.allocating(poll_interval=0.1, max_backoff=0.1) as allocation:
        await warehouse.count(mug=4)
        await warehouse.wait_until_served(*orders[2:])
        assert await warehouse.stock("mug") == (4, 2)
        newcomer = await warehouse.order(mug=1)
        assert await warehouse.waiting() == [*orders[:2], newcomer]
        await eventually(lambda: is_degraded(allocation, "HTTP 500, for this one only"))
        warehouse.invoicing.errors.clear()
        await retry(warehouse, orders[1])
        await warehouse.wait_until_served(*orders)
    assert await warehouse.stock("mug") == (4, 4)


async def test_untried_orders_come_before_failed_ones(warehouse: Warehouse) -> None:
    """However many failed, and however soon they are due again."""
    orders = [await warehouse.order(mug=1) for _ in range(6)]
    warehouse.invoicing.errors = dict.fromkeys(orders[:4], Unavailable("HTTP 500, for these"))
    async with warehouse.allocating(max_backoff=0.001):
        await warehouse.count(mug=6)
        await warehouse.wait_until_served(*orders[4:])


async def test_an_order_that_begins_to_wait_during_a_withdrawal_is_served(warehouse: Warehouse) -> None:
    """It still saw the other order's claim, and its own commit wakes the allocation."""
    await warehouse.count(mug=3)
    large = await warehouse.order(mug=10)
    async with warehouse.allocating():
        async with warehouse.database.transaction() as tx:
            await tx.publish(FulfilmentOpened("1" * 20, (Line("mug", 2),)))
            await warehouse.withdraw(large)
            await warehouse.wait_until_idle()
        await warehouse.wait_until_served("1" * 20)
    assert await warehouse.stock("mug") == (3, 2)


async def test_a_terminal_error_parks_the_order_without_its_claim(warehouse: Warehouse) -> None:
    """Its goods go to the next order. An operator's retry restores its position in the queue."""
    unknown = await warehouse.order(mug=2)
    second = await warehouse.order(mug=2)
    warehouse.invoicing.errors[unknown] = TerminalError("the order service does not know it")
    async with warehouse.allocating() as allocation:
        await warehouse.count(mug=2)
        await warehouse.wait_until_served(second)
        [parked] = await warehouse.get("/back-office/waiting-orders")
        assert parked["parkedAt"]
        assert parked["lastError"] == "TerminalError: the order service does not know it"
        assert await is_degraded(allocation, unknown)
        third = await warehouse.order(mug=2)
        warehouse.invoicing.errors.clear()
        await retry(warehouse, unknown)
        [retried, _] = await warehouse.get("/back-office/waiting-orders")
        assert (retried["orderId"], retried["lastError"]) == (unknown, None)
        await warehouse.count(mug=4)
        await warehouse.wait_until_served(unknown)
    assert await warehouse.waiting() == [third]


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException."""


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), PanicException("index")])
async def test_an_order_is_parked_after_max_attempts(warehouse: Warehouse, error: BaseException) -> None:
    """Any error counts, a panic too. A parked order can be withdrawn."""
    order_id = await warehouse.order(mug=2)
    warehouse.invoicing.errors[order_id] = error

    async def is_parked() -> bool:
        [waiting] = await warehouse.get("/back-office/waiting-orders")
        return waiting["parkedAt"] is not None and waiting["attempts"] == 2

    async with warehouse.allocating(max_attempts=2, poll_interval=0.1):
        await warehouse.count(mug=2)
        await eventually(is_parked)
        await warehouse.withdraw(order_id)
    assert await warehouse.waiting() == []


async def test_an_order_whose_article_is_locked_delays_no_other(warehouse: Warehouse) -> None:
    """No attempt is counted, and it is served once the article is unlocked."""
    orders = [await warehouse.order(mug=1), await warehouse.order(cup=1)]
    await warehouse.count(mug=1, cup=1)
    async with AsyncExitStack() as allocating:
        async with warehouse.database.transaction() as tx:
            await tx.connection.execute("SELECT FROM stock WHERE sku = 'mug' FOR UPDATE")
            await allocating.enter_async_context(warehouse.allocating(poll_interval=0.1))
            await warehouse.wait_until_served(orders[1])
            [waiting] = await warehouse.get("/back-office/waiting-orders")
            assert (waiting["orderId"], waiting["attempts"]) == (orders[0], 0)
        await warehouse.wait_until_served(orders[0])


async def test_several_allocations_serve_each_order_once(warehouse: Warehouse) -> None:
    """As in a service with several instances, each with a signal of its own."""
    orders = [await warehouse.order(mug=1, tray=1) for _ in range(20)]
    await warehouse.count(mug=15, tray=20)
    async with (
        warehouse.allocating(),
        warehouse.allocating(AllocationSignal(), poll_interval=0.1),
        warehouse.allocating(AllocationSignal(), poll_interval=0.1, batch_size=2),
    ):
        await warehouse.wait_until_served(*orders[:15])
    assert await warehouse.waiting() == orders[15:]
    assert await warehouse.stock("tray") == (20, 15)
    assert sorted(warehouse.invoicing.attempts) == orders[:15]


async def test_stopping_waits_for_the_current_order(warehouse: Warehouse) -> None:
    """No further order is begun."""
    orders = [await warehouse.order(mug=1) for _ in range(2)]
    warehouse.invoicing.may_proceed.clear()
    async with warehouse.allocating() as allocation:
        await warehouse.count(mug=2)
        await eventually(lambda: is_serving(warehouse))
        allocation.stop()
        warehouse.invoicing.may_proceed.set()
    assert await warehouse.waiting() == orders[1:]


async def test_an_unavailable_database_is_retried(warehouse: Warehouse) -> None:
    """The allocation is degraded, and continues afterwards."""
    order_id = await warehouse.order(mug=1)
    async with warehouse.allocating(max_backoff=0.1) as allocation:
        async with locked(warehouse.url, "waiting_order") as lock:
            await receive(warehouse, mug=1)

            async def is_degraded_by_database() -> bool:
                await lock.fetch(TERMINATE_WAITING)
                return allocation.degraded_reason is not None

            await eventually(is_degraded_by_database)

        await warehouse.wait_until_served(order_id)


async def is_serving(warehouse: Warehouse) -> bool:
    """An order is being served."""
    return bool(warehouse.invoicing.attempts)


async def is_degraded(allocation: Allocation, reason: str | None) -> bool:
    """The allocation is degraded for this reason, or not at all for None."""
    if reason is None:
        return allocation.degraded_reason is None
    return reason in (allocation.degraded_reason or "")
