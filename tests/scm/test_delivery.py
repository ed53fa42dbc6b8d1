"""Delivery, through SCM's doors: one live invoice per order, and what carriers report."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
from snsqs import Unavailable

from local.door import Door
from local.ports import HOST
from services.scm.delivery import OrderClient, UnknownOrder
from tests.order.test_api import PROBLEM
from tests.scm.supply_chain import (
    ADDRESS,
    ELSEWHERE,
    OrderService,
    Scm,
    address_changed,
    cancelled,
    completed,
    order_locked,
)
from tests.serving import SERVICE, eventually, serving


async def test_the_address_is_the_one_of_the_moment_when_the_invoice_is_issued(scm_alone: Scm) -> None:
    """Asked over REST, whatever the order had when it was completed; no event carries it."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    assert (invoice["status"], invoice["deliveryAddress"]) == ("ISSUED", ADDRESS)
    assert scm_alone.orders.requests.count(order_id) == 1


async def test_a_changed_address_makes_a_new_invoice_in_place_of_the_old_one(scm_alone: Scm) -> None:
    """The old one is void, and SCM says which one is valid now."""
    order_id = await scm_alone.invoiced_order()
    old = await scm_alone.live_invoice(order_id)
    scm_alone.orders.addresses[order_id] = ELSEWHERE
    await scm_alone.deliver(address_changed(order_id))
    new = await scm_alone.live_invoice(order_id)
    assert new["deliveryAddress"] == ELSEWHERE
    assert [each["id"] for each in await scm_alone.invoices(order_id)] == [old["id"], new["id"]]
    assert (await scm_alone.get(f"/orders/{order_id}"))["invoiceId"] == new["id"]
    assert (await scm_alone.published(order_id))[-2:] == ["DeliveryInvoiceIssued"] * 2


async def test_an_address_that_is_the_same_again_changes_nothing(scm_alone: Scm) -> None:
    """Changed there and back before SCM looked."""
    order_id = await scm_alone.invoiced_order()
    before = await scm_alone.get(f"/orders/{order_id}")
    await scm_alone.deliver(address_changed(order_id))
    assert await scm_alone.get(f"/orders/{order_id}") == before
    assert len(await scm_alone.invoices(order_id)) == 1


async def test_an_address_change_after_the_dispatch_is_too_late(scm_alone: Scm) -> None:
    """The goods travel under the invoice that they have; SCM still names the version that had its address."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    await scm_alone.report(invoice["id"], "dispatched")
    scm_alone.orders.addresses[order_id], scm_alone.orders.versions[order_id] = ELSEWHERE, 3
    await scm_alone.deliver(address_changed(order_id))
    assert (await scm_alone.live_invoice(order_id))["deliveryAddress"] == ADDRESS
    assert (await scm_alone.published(order_id))[-1] == "ParcelDispatched"
    assert (await scm_alone.get(f"/orders/{order_id}"))["orderVersion"] == 2


async def test_an_address_change_while_stock_is_short_waits_for_the_invoice(scm_alone: Scm) -> None:
    """There is no invoice to replace, and nothing to ask yet."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(completed(order_id, gold=1), address_changed(order_id, gold=1))
    assert await scm_alone.status(order_id) == "SHORT"
    assert order_id not in scm_alone.orders.requests


async def test_the_carrier_dispatches_and_delivers(scm_alone: Scm) -> None:
    """The answers are the invoice as it is then; SCM publishes each step."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    dispatched = (await scm_alone.report(invoice["id"], "dispatched")).json()
    assert (dispatched["status"], await scm_alone.status(order_id)) == ("DISPATCHED", "DISPATCHED")
    delivered = (await scm_alone.report(invoice["id"], "delivered")).json()
    assert (delivered["status"], await scm_alone.status(order_id)) == ("DELIVERED", "DELIVERED")
    assert delivered["dispatchedAt"] == dispatched["dispatchedAt"] < delivered["deliveredAt"]
    assert (await scm_alone.published(order_id))[-2:] == ["ParcelDispatched", "ParcelDelivered"]


async def test_a_report_may_be_repeated(scm_alone: Scm) -> None:
    """A carrier that got no answer says it again: the same answer, and nothing happens a second time."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    first = await scm_alone.report(invoice["id"], "dispatched")
    again = await asyncio.gather(*(scm_alone.report(invoice["id"], "dispatched") for _ in range(5)))
    assert {each.text for each in again} == {first.text}
    delivered = await scm_alone.report(invoice["id"], "delivered")
    for step in ("dispatched", "delivered"):
        assert (await scm_alone.report(invoice["id"], step)).text == delivered.text
    published = await scm_alone.published(order_id)
    assert published[2:] == ["ParcelDispatched", "ParcelDelivered"]


async def test_what_was_not_dispatched_cannot_arrive(scm_alone: Scm) -> None:
    """409, which says what is missing; nothing happens."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    answer = await scm_alone.report(invoice["id"], "delivered")
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        f"invoice {invoice['id']} is ISSUED; it must be DISPATCHED to be delivered"
    )
    assert await scm_alone.status(order_id) == "INVOICED"


@pytest.mark.parametrize("step", ["dispatched", "delivered"])
async def test_nothing_travels_under_a_void_invoice(scm_alone: Scm, step: str) -> None:
    """409, which says since when, and why that may be."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    await scm_alone.deliver(cancelled(order_id))
    answer = await scm_alone.report(invoice["id"], step)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"invoice {invoice['id']} is VOID since ")
    assert await scm_alone.status(order_id) == "CANCELLED"


@pytest.mark.parametrize(
    ("invoice_id", "status"), [("00000000-0000-4000-8000-000000000000", 404), ("seven", 422)]
)
async def test_an_invoice_that_is_not_there_is_refused(scm_alone: Scm, invoice_id: str, status: int) -> None:
    """As problem details."""
    for step in ("dispatched", "delivered"):
        answer = await scm_alone.report(invoice_id, step)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)


@pytest.mark.parametrize(("shown", "status"), [({}, 401), (SERVICE, 403)])
async def test_only_an_operator_reports_for_a_carrier(
    scm_alone: Scm, shown: dict[str, str], status: int
) -> None:
    """Who may read invoices may not yet say what became of them."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    for step in ("dispatched", "delivered"):
        path = f"/external-api/invoices/{invoice['id']}/{step}"
        assert (await scm_alone.served.http.post(path, headers=shown)).status_code == status
    assert await scm_alone.status(order_id) == "INVOICED"


async def test_the_database_allows_an_order_one_live_invoice(scm_alone: Scm) -> None:
    """Whatever the code does; void ones do not count."""
    order_id = await scm_alone.invoiced_order()
    issue = "INSERT INTO invoice (id, order_id, delivery_address) VALUES (gen_random_uuid(), $1, '{}')"
    async with scm_alone.database.connection() as connection:
        with pytest.raises(asyncpg.UniqueViolationError, match="invoice_live"):
            await connection.execute(issue, order_id)
        await connection.execute("UPDATE invoice SET voided_at = now() WHERE order_id = $1", order_id)
        await connection.execute(issue, order_id)


async def test_a_cancellation_that_comes_before_the_carrier_wins(scm_alone: Scm) -> None:
    """Both at the same time, the cancellation a moment earlier: nothing leaves."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    async with asyncio.TaskGroup() as group:
        async with order_locked(scm_alone.database, order_id) as wait_for_waiters:
            hearing = group.create_task(scm_alone.deliver(cancelled(order_id)))
            await wait_for_waiters(1)
            dispatching = group.create_task(scm_alone.report(invoice["id"], "dispatched"))
            await wait_for_waiters(2)
        await hearing
    assert (await dispatching).status_code == 409
    assert (await scm_alone.published(order_id))[2:] == ["FulfilmentCancelled"]
    assert await scm_alone.status(order_id) == "CANCELLED"


async def test_a_carrier_that_comes_before_the_cancellation_wins(scm_alone: Scm) -> None:
    """Both at the same time, the carrier a moment earlier: the cancellation is rejected."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    async with asyncio.TaskGroup() as group:
        async with order_locked(scm_alone.database, order_id) as wait_for_waiters:
            dispatching = group.create_task(scm_alone.report(invoice["id"], "dispatched"))
            await wait_for_waiters(1)
            hearing = group.create_task(scm_alone.deliver(cancelled(order_id)))
            await wait_for_waiters(2)
        await hearing
    assert (await dispatching).json()["status"] == "DISPATCHED"
    assert (await scm_alone.published(order_id))[2:] == ["ParcelDispatched", "CancellationRejected"]
    assert await scm_alone.status(order_id) == "DISPATCHED"


async def test_cancelling_and_dispatching_at_once_always_agree(scm_alone: Scm) -> None:
    """Many orders, with nobody to say who is first: either it is cancelled and the carrier was refused, or
    it travels and the cancellation was rejected."""

    async def told_both() -> None:
        order_id = await scm_alone.invoiced_order()
        invoice = await scm_alone.live_invoice(order_id)
        _, answer = await asyncio.gather(
            scm_alone.deliver(cancelled(order_id)), scm_alone.report(invoice["id"], "dispatched")
        )
        status, published = await scm_alone.status(order_id), (await scm_alone.published(order_id))[2:]
        assert (status, published, answer.status_code) in [
            ("CANCELLED", ["FulfilmentCancelled"], 409),
            ("DISPATCHED", ["ParcelDispatched", "CancellationRejected"], 200),
        ]

    await asyncio.gather(*(told_both() for _ in range(10)))


async def test_while_the_order_service_thinks_nobody_waits_for_the_goods(scm_alone: Scm) -> None:
    """The articles of the order that it was asked about are not locked, so other orders of them are served,
    carried and counted."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.stock(mug=1_000)
    message = completed(order_id, mug=1)

    async def is_asked() -> bool:
        """The Order service was asked."""
        return order_id in scm_alone.orders.requests

    scm_alone.orders.may_respond.clear()
    try:
        await scm_alone.send(message)
        await eventually(is_asked)
        async with scm_alone.database.transaction() as tx:
            await tx.connection.execute("SELECT FROM stock WHERE sku = 'mug' FOR UPDATE NOWAIT")
    finally:
        scm_alone.orders.may_respond.set()
    await scm_alone.wait_until_handled(message)
    assert await scm_alone.status(order_id) == "INVOICED"
    assert scm_alone.orders.requests.count(order_id) == 1


async def test_of_a_great_many_invoices_the_newest_are_shown(scm_alone: Scm) -> None:
    """The live one is the last, and the carrier finds it."""
    order_id = await scm_alone.invoiced_order()
    live = await scm_alone.live_invoice(order_id)
    async with scm_alone.database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO invoice (id, order_id, delivery_address, issued_at, voided_at)
            SELECT gen_random_uuid(), $1, '{}', now() - n * interval '1 hour', now()
            FROM generate_series(1, 1000) AS n
            """,
            order_id,
        )
    invoices = await scm_alone.invoices(order_id)
    assert len(invoices) == 1000
    assert invoices[-1] == live
    assert [each["issuedAt"] for each in invoices] == sorted(each["issuedAt"] for each in invoices)


async def test_a_service_that_does_not_answer_is_left_alone() -> None:
    """After five failures in a row nobody asks it for a while; an answer, even an unknown order, is none."""
    service = OrderService()
    async with serving(service.app) as served, httpx.AsyncClient() as http:
        orders = OrderClient(http, served.url)
        for is_unavailable in (True, True, True, True, False, True, True, True, True, True, True, True):
            service.is_unavailable = is_unavailable
            with pytest.raises(Unavailable if is_unavailable else UnknownOrder):
                await orders.current_order("1" * 20)
    assert len(service.requests) == 10


@pytest.mark.parametrize(("breaks", "raised"), [(2, UnknownOrder), (3, Unavailable)])
async def test_a_connection_that_breaks_is_tried_again(breaks: int, raised: type[Exception]) -> None:
    """To read is safe to repeat: three times in all, a moment apart."""
    async with order_service_that_breaks(breaks) as url, httpx.AsyncClient() as http:
        with pytest.raises(raised):
            await OrderClient(http, url).current_order("1" * 20)


async def test_a_service_that_hangs_is_not_waited_for_long() -> None:
    """Two seconds for each try, three for all of them together, because a transaction waits."""
    async with Door(behind=1) as door, door.slow(60), httpx.AsyncClient() as http, asyncio.timeout(5.5):
        with pytest.raises(Unavailable):
            await OrderClient(http, f"http://{HOST}:{door.port}").current_order("1" * 20)


@asynccontextmanager
async def order_service_that_breaks(times: int) -> AsyncIterator[str]:
    """Ends so many connections without an answer; after that it answers, and knows no order."""
    connections = itertools.count(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if next(connections) > times:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
