"""Inventory: what is set aside for whom, who waits for what, and that nothing is ever lost or sold twice."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from snsqs import TerminalError, Unavailable

from services.scm.events import FulfilmentOpened, GoodsReceived, GoodsReserved, GoodsShort, Line
from services.scm.inventory import Allocation, AllocationSignal
from tests.scm.warehouse import Warehouse, articles
from tests.serving import eventually
from tests.snsqs.relays import locked

CUT_OFF = """
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


async def test_all_lines_are_set_aside_or_none(warehouse: Warehouse) -> None:
    """What is missing is said; what is there stays free for others."""
    await warehouse.count(mug=10, tray=1)
    served = await warehouse.order(mug=3, tray=1)
    short = await warehouse.order(cup=1, mug=2, tray=2)
    assert await warehouse.stock("mug") == (10, 3)
    assert await warehouse.stock("tray") == (1, 1)
    assert GoodsReserved(served) in warehouse.recorder.events
    assert GoodsShort(short, (Line("cup", 1), Line("tray", 2))) in warehouse.recorder.events
    assert await warehouse.waiting() == [short]


async def test_orders_at_the_same_time_never_take_more_than_there_is(warehouse: Warehouse) -> None:
    """Nor do they wait for each other in a circle, whatever the order of their lines."""
    await warehouse.count(mug=10, tray=10)
    await asyncio.gather(*(warehouse.order(mug=2, tray=2) for _ in range(12)))
    assert await warehouse.stock("mug") == await warehouse.stock("tray") == (10, 10)
    assert len(await warehouse.waiting()) == 7


async def test_what_is_withdrawn_is_free_again(warehouse: Warehouse) -> None:
    """Once, however often it is said; and who waited for it is served."""
    await warehouse.count(mug=10)
    first = await warehouse.order(mug=8)
    second = await warehouse.order(mug=5)
    async with warehouse.allocating():
        await warehouse.withdraw(first)
        await warehouse.wait_until_served(second)
        await warehouse.withdraw(first)
    assert await warehouse.stock("mug") == (10, 5)


async def test_what_left_the_warehouse_is_no_longer_on_hand(warehouse: Warehouse) -> None:
    """And can be neither released nor leave a second time."""
    await warehouse.count(mug=10)
    order_id = await warehouse.order(mug=3)
    await warehouse.dispatch(order_id)
    assert await warehouse.stock("mug") == (7, 0)
    await warehouse.dispatch(order_id)
    await warehouse.withdraw(order_id)
    assert await warehouse.stock("mug") == (7, 0)


async def test_the_ledger_says_why_there_is_as_much_as_there_is(warehouse: Warehouse) -> None:
    """Each change of what is on hand is a movement with its reason and reference."""
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


async def test_a_count_below_what_is_set_aside_is_refused(warehouse: Warehouse) -> None:
    """409 as problem details, and nothing is changed."""
    await warehouse.count(mug=10)
    await warehouse.order(mug=3)
    answer = await warehouse.http.put("/back-office/stock/mug", json={"onHand": 2})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert answer.json()["detail"] == "3 of mug are reserved for orders, which is more than 2"
    assert await warehouse.stock("mug") == (10, 3)
    await warehouse.count(mug=3)


@pytest.mark.parametrize("freed_by", ["count", "receipt", "withdrawal"])
async def test_who_waits_is_served_as_soon_as_there_is_enough(warehouse: Warehouse, freed_by: str) -> None:
    """Whatever it was that freed the goods; the poll is so slow that it was not that."""
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


async def test_the_oldest_is_served_first_and_nobody_overtakes_it(warehouse: Warehouse) -> None:
    """A small order that comes later gets nothing of what the older one has a claim to, however long that
    takes."""
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


async def test_an_order_for_other_articles_passes_those_that_wait(warehouse: Warehouse) -> None:
    """First come, first served holds article by article."""
    await warehouse.count(mug=1, tray=5)
    await warehouse.order(mug=10)
    await warehouse.order(tray=5)
    assert await warehouse.stock("tray") == (5, 5)


async def test_who_gives_up_waiting_gives_up_the_claim(warehouse: Warehouse) -> None:
    """What an order that waited was cancelled for is there for the next one."""
    await warehouse.count(mug=3)
    large = await warehouse.order(mug=10)
    small = await warehouse.order(mug=2)
    async with warehouse.allocating():
        await warehouse.withdraw(large)
        await warehouse.wait_until_served(small)
    assert await warehouse.waiting() == []
    assert await warehouse.stock("mug") == (3, 2)


async def test_while_the_order_service_is_unavailable_nobody_is_to_blame(warehouse: Warehouse) -> None:
    """The trouble is told and no attempt is counted; when it is back, all are served."""
    orders = [await warehouse.order(mug=1) for _ in range(5)]
    warehouse.invoicing.errors["all"] = Unavailable("the order service is away")
    async with warehouse.allocating(max_backoff=0.1) as allocation:
        await warehouse.count(mug=5)
        await eventually(lambda: is_told(allocation, "the order service is away"))
        assert {each["attempts"] for each in await warehouse.get("/back-office/waiting-orders")} == {0}
        del warehouse.invoicing.errors["all"]
        await warehouse.wait_until_served(*orders)
        await eventually(lambda: is_told(allocation, None))


async def test_an_order_that_fails_holds_up_no_other(warehouse: Warehouse) -> None:
    """However it fails: it is tried again later, with its claim; it is not served twice, nor forgotten."""
    orders = [await warehouse.order(mug=1) for _ in range(4)]
    warehouse.invoicing.errors[orders[0]] = Unavailable("HTTP 500, for this one only")
    warehouse.invoicing.errors[orders[1]] = ZeroDivisionError("a defect")
    async with warehouse.allocating(poll_interval=0.1, max_backoff=0.1) as allocation:
        await warehouse.count(mug=4)
        await warehouse.wait_until_served(*orders[2:])
        assert await warehouse.stock("mug") == (4, 2)
        newcomer = await warehouse.order(mug=1)
        assert await warehouse.waiting() == [*orders[:2], newcomer]
        await eventually(lambda: is_told(allocation, "HTTP 500, for this one only"))
        warehouse.invoicing.errors.clear()
        await retry(warehouse, orders[1])
        await warehouse.wait_until_served(*orders)
    assert await warehouse.stock("mug") == (4, 4)


async def test_orders_that_fail_are_tried_after_those_that_were_not_tried_yet(warehouse: Warehouse) -> None:
    """However many they are, and however soon they are to be tried again."""
    orders = [await warehouse.order(mug=1) for _ in range(6)]
    warehouse.invoicing.errors = dict.fromkeys(orders[:4], Unavailable("HTTP 500, for these"))
    async with warehouse.allocating(max_backoff=0):
        await warehouse.count(mug=6)
        await warehouse.wait_until_served(*orders[4:])


async def test_an_order_that_begins_to_wait_while_another_gives_up_is_served(warehouse: Warehouse) -> None:
    """It still saw the claim of the other, and nobody else rings the bell for it."""
    await warehouse.count(mug=3)
    large = await warehouse.order(mug=10)
    async with warehouse.allocating():
        async with warehouse.database.transaction() as tx:
            await tx.publish(FulfilmentOpened("1" * 20, (Line("mug", 2),)))
            await warehouse.withdraw(large)
            await warehouse.wait_until_idle()
        await warehouse.wait_until_served("1" * 20)
    assert await warehouse.stock("mug") == (3, 2)


async def test_an_order_that_can_never_be_served_gives_up_its_claim(warehouse: Warehouse) -> None:
    """It is parked, with the reason, for somebody to look at; who came later gets the goods. Once somebody
    says so it is tried again, at the place that it had."""
    unknown = await warehouse.order(mug=2)
    second = await warehouse.order(mug=2)
    warehouse.invoicing.errors[unknown] = TerminalError("the order service does not know it")
    async with warehouse.allocating() as allocation:
        await warehouse.count(mug=2)
        await warehouse.wait_until_served(second)
        [parked] = await warehouse.get("/back-office/waiting-orders")
        assert parked["parkedAt"]
        assert parked["lastError"] == "TerminalError: the order service does not know it"
        assert await is_told(allocation, unknown)
        third = await warehouse.order(mug=2)
        warehouse.invoicing.errors.clear()
        await retry(warehouse, unknown)
        [retried, _] = await warehouse.get("/back-office/waiting-orders")
        assert (retried["orderId"], retried["lastError"]) == (unknown, None)
        await warehouse.count(mug=4)
        await warehouse.wait_until_served(unknown)
    assert await warehouse.waiting() == [third]


async def test_an_order_that_fails_too_often_is_parked(warehouse: Warehouse) -> None:
    """After so many attempts."""
    order_id = await warehouse.order(mug=2)
    warehouse.invoicing.errors[order_id] = ZeroDivisionError("a defect")

    async def is_parked() -> bool:
        [waiting] = await warehouse.get("/back-office/waiting-orders")
        return waiting["parkedAt"] is not None and waiting["attempts"] == 2

    async with warehouse.allocating(max_attempts=2, poll_interval=0.1):
        await warehouse.count(mug=2)
        await eventually(is_parked)
        await warehouse.withdraw(order_id)
    assert await warehouse.waiting() == []


async def test_an_order_whose_article_is_in_use_holds_up_no_other(warehouse: Warehouse) -> None:
    """It is not to blame, and served as soon as the article is free."""
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
    """As in a service with several instances; a bell sounds only in its own."""
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


async def test_stopping_waits_for_the_order_that_is_under_way(warehouse: Warehouse) -> None:
    """And begins no other one."""
    orders = [await warehouse.order(mug=1) for _ in range(2)]
    warehouse.invoicing.may_proceed.clear()
    async with warehouse.allocating() as allocation:
        await warehouse.count(mug=2)
        await eventually(lambda: has_begun(warehouse))
        allocation.stop()
        warehouse.invoicing.may_proceed.set()
    assert await warehouse.waiting() == orders[1:]


async def test_a_database_that_is_unavailable_is_waited_out(warehouse: Warehouse) -> None:
    """The allocation is in trouble, and goes on when it is back."""
    order_id = await warehouse.order(mug=1)
    async with warehouse.allocating(max_backoff=0.1) as allocation:
        async with locked(warehouse.url, "waiting_order") as lock:
            await receive(warehouse, mug=1)

            async def is_cut_off() -> bool:
                await lock.fetch(CUT_OFF)
                return allocation.degraded_reason is not None

            await eventually(is_cut_off)

        await warehouse.wait_until_served(order_id)


async def has_begun(warehouse: Warehouse) -> bool:
    """An order is being served."""
    return bool(warehouse.invoicing.attempts)


async def is_told(allocation: Allocation, trouble: str | None) -> bool:
    """The allocation is in this trouble."""
    if trouble is None:
        return allocation.degraded_reason is None
    return trouble in (allocation.degraded_reason or "")
