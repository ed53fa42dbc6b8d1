"""Delivery through SCM's entry points: one live invoice per order, and carriers' reports."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
from snsqs import Unavailable

from local.fault_proxy import FaultProxy
from local.ports import HOST
from services.scm.order_client import OrderClient, UnknownOrder
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


async def test_the_invoice_has_the_current_address(scm_alone: Scm) -> None:
    """Read over REST when the invoice is issued; no event carries it."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    assert (invoice["status"], invoice["deliveryAddress"]) == ("ISSUED", ADDRESS)
    assert scm_alone.orders.requests.count(order_id) == 1


async def test_a_changed_address_replaces_the_invoice(scm_alone: Scm) -> None:
    """The old one is void, and SCM publishes the new one."""
    order_id = await scm_alone.invoiced_order()
    old = await scm_alone.live_invoice(order_id)
    scm_alone.orders.addresses[order_id] = ELSEWHERE
    await scm_alone.deliver(address_changed(order_id))
    new = await scm_alone.live_invoice(order_id)
    assert new["deliveryAddress"] == ELSEWHERE
    assert [each["id"] for each in await scm_alone.invoices(order_id)] == [old["id"], new["id"]]
    assert (await scm_alone.get(f"/orders/{order_id}"))["invoiceId"] == new["id"]
    assert (await scm_alone.published(order_id))[-2:] == ["DeliveryInvoiceIssued"] * 2


async def test_an_unchanged_address_keeps_the_invoice(scm_alone: Scm) -> None:
    """Changed back before SCM handled the event."""
    order_id = await scm_alone.invoiced_order()
    before = await scm_alone.get(f"/orders/{order_id}")
    await scm_alone.deliver(address_changed(order_id))
    assert await scm_alone.get(f"/orders/{order_id}") == before
    assert len(await scm_alone.invoices(order_id)) == 1


async def test_an_address_change_after_the_dispatch_is_too_late(scm_alone: Scm) -> None:
    """The invoice stays; SCM still names the order's version that had its address."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    await scm_alone.report(invoice["id"], "dispatched")
    scm_alone.orders.addresses[order_id], scm_alone.orders.versions[order_id] = ELSEWHERE, 3
    await scm_alone.deliver(address_changed(order_id))
    assert (await scm_alone.live_invoice(order_id))["deliveryAddress"] == ADDRESS
    assert (await scm_alone.published(order_id))[-1] == "ParcelDispatched"
    assert (await scm_alone.get(f"/orders/{order_id}"))["orderVersion"] == 2


async def test_an_address_change_while_stock_is_short_has_no_effect(scm_alone: Scm) -> None:
    """There is no invoice to replace; the address is read again when it is issued."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(completed(order_id, gold=1), address_changed(order_id, gold=1))
    assert await scm_alone.status(order_id) == "SHORT"
    assert scm_alone.orders.requests.count(order_id) == 1  # before goods were bought


async def test_a_carrier_reports_dispatch_and_delivery(scm_alone: Scm) -> None:
    """The responses are the changed invoice; SCM publishes each step."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    dispatched = (await scm_alone.report(invoice["id"], "dispatched")).json()
    assert (dispatched["status"], await scm_alone.status(order_id)) == ("DISPATCHED", "DISPATCHED")
    delivered = (await scm_alone.report(invoice["id"], "delivered")).json()
    assert (delivered["status"], await scm_alone.status(order_id)) == ("DELIVERED", "DELIVERED")
    assert delivered["dispatchedAt"] == dispatched["dispatchedAt"] < delivered["deliveredAt"]
    assert (await scm_alone.published(order_id))[-2:] == ["ParcelDispatched", "ParcelDelivered"]


async def test_a_report_may_be_repeated(scm_alone: Scm) -> None:
    """With the same response and no second effect."""
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


async def test_an_invoice_must_be_dispatched_before_it_is_delivered(scm_alone: Scm) -> None:
    """409 with the missing step; nothing changes."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    response = await scm_alone.report(invoice["id"], "delivered")
    assert response.status_code == 409
    assert response.json()["detail"] == (
        f"invoice {invoice['id']} is ISSUED; it must be DISPATCHED to be delivered"
    )
    assert await scm_alone.status(order_id) == "INVOICED"


@pytest.mark.parametrize("step", ["dispatched", "delivered"])
async def test_a_void_invoice_accepts_no_report(scm_alone: Scm, step: str) -> None:
    """409 with the time it was voided, and the possible reasons."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    await scm_alone.deliver(cancelled(order_id))
    response = await scm_alone.report(invoice["id"], step)
    assert response.status_code == 409
    assert response.json()["detail"].startswith(f"invoice {invoice['id']} is VOID since ")
    assert await scm_alone.status(order_id) == "CANCELLED"


@pytest.mark.parametrize(
    ("invoice_id", "status"), [("00000000-0000-4000-8000-000000000000", 404), ("seven", 422)]
)
async def test_an_unknown_invoice_is_rejected(scm_alone: Scm, invoice_id: str, status: int) -> None:
    """404 or 422 as problem details."""
    for step in ("dispatched", "delivered"):
        response = await scm_alone.report(invoice_id, step)
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (SERVICE, 403)])
async def test_only_an_operator_may_report(scm_alone: Scm, headers: dict[str, str], status: int) -> None:
    """401 without a token, 403 with a service token."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    for step in ("dispatched", "delivered"):
        path = f"/external-api/invoices/{invoice['id']}/{step}"
        assert (await scm_alone.served.http.post(path, headers=headers)).status_code == status
    assert await scm_alone.status(order_id) == "INVOICED"


async def test_the_database_allows_an_order_one_live_invoice(scm_alone: Scm) -> None:
    """By a unique index; void ones do not count."""
    order_id = await scm_alone.invoiced_order()
    issue = "INSERT INTO invoice (id, order_id, delivery_address) VALUES (gen_random_uuid(), $1, '{}')"
    async with scm_alone.database.connection() as connection:
        with pytest.raises(asyncpg.UniqueViolationError, match="invoice_live"):
            await connection.execute(issue, order_id)
        await connection.execute("UPDATE invoice SET voided_at = now() WHERE order_id = $1", order_id)
        await connection.execute(issue, order_id)


async def test_a_cancellation_just_before_the_dispatch_wins(scm_alone: Scm) -> None:
    """Concurrent; the cancellation has the order lock first: nothing is dispatched."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    async with asyncio.TaskGroup() as group:
        async with order_locked(scm_alone.database, order_id) as wait_for_waiters:
            delivering = group.create_task(scm_alone.deliver(cancelled(order_id)))
            await wait_for_waiters(1)
            dispatching = group.create_task(scm_alone.report(invoice["id"], "dispatched"))
            await wait_for_waiters(2)
        await delivering
    assert (await dispatching).status_code == 409
    assert (await scm_alone.published(order_id))[2:] == ["FulfilmentCancelled"]
    assert await scm_alone.status(order_id) == "CANCELLED"


async def test_a_dispatch_just_before_the_cancellation_wins(scm_alone: Scm) -> None:
    """Concurrent; the dispatch has the order lock first: the cancellation is rejected."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    async with asyncio.TaskGroup() as group:
        async with order_locked(scm_alone.database, order_id) as wait_for_waiters:
            dispatching = group.create_task(scm_alone.report(invoice["id"], "dispatched"))
            await wait_for_waiters(1)
            delivering = group.create_task(scm_alone.deliver(cancelled(order_id)))
            await wait_for_waiters(2)
        await delivering
    assert (await dispatching).json()["status"] == "DISPATCHED"
    assert (await scm_alone.published(order_id))[2:] == ["ParcelDispatched", "CancellationRejected"]
    assert await scm_alone.status(order_id) == "DISPATCHED"


async def test_concurrent_cancellation_and_dispatch_agree(scm_alone: Scm) -> None:
    """Either the order is cancelled and the report rejected, or it is dispatched and the cancellation
    rejected."""

    async def cancel_and_dispatch() -> None:
        order_id = await scm_alone.invoiced_order()
        invoice = await scm_alone.live_invoice(order_id)
        _, response = await asyncio.gather(
            scm_alone.deliver(cancelled(order_id)), scm_alone.report(invoice["id"], "dispatched")
        )
        status, published = await scm_alone.status(order_id), (await scm_alone.published(order_id))[2:]
        assert (status, published, response.status_code) in [
            ("CANCELLED", ["FulfilmentCancelled"], 409),
            ("DISPATCHED", ["ParcelDispatched", "CancellationRejected"], 200),
        ]

    await asyncio.gather(*(cancel_and_dispatch() for _ in range(10)))


async def test_stock_is_not_locked_while_the_order_service_is_called(scm_alone: Scm) -> None:
    """Other orders for the same articles can be reserved, dispatched and counted meanwhile."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.stock(mug=1_000)
    message = completed(order_id, mug=1)

    async def is_requested() -> bool:
        """The Order service has received the request."""
        return order_id in scm_alone.orders.requests

    scm_alone.orders.may_respond.clear()
    try:
        await scm_alone.send(message)
        await eventually(is_requested)
        async with scm_alone.database.transaction() as tx:
            await tx.connection.execute("SELECT FROM stock WHERE sku = 'mug' FOR UPDATE NOWAIT")
    finally:
        scm_alone.orders.may_respond.set()
    await scm_alone.wait_until_handled(message)
    assert await scm_alone.status(order_id) == "INVOICED"
    assert scm_alone.orders.requests.count(order_id) == 1


async def test_of_more_than_1000_invoices_the_newest_are_listed(scm_alone: Scm) -> None:
    """The live one is the last."""
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


async def test_the_circuit_opens_after_five_failures() -> None:
    """Then the service is not called for a while. An unknown order is an answer, not a failure."""
    service = OrderService()
    async with serving(service.app) as served, httpx.AsyncClient() as http:
        orders = OrderClient(http, served.url, {})
        for is_unavailable in (True, True, True, True, False, True, True, True, True, True, True, True):
            service.is_unavailable = is_unavailable
            with pytest.raises(Unavailable if is_unavailable else UnknownOrder):
                await orders.current_order("1" * 20)
    assert len(service.requests) == 10


@pytest.mark.parametrize(("breaks", "raised"), [(2, UnknownOrder), (3, Unavailable)])
async def test_a_broken_connection_is_retried(breaks: int, raised: type[Exception]) -> None:
    """Three attempts in all."""
    async with order_service_that_breaks(breaks) as url, httpx.AsyncClient() as http:
        with pytest.raises(raised):
            await OrderClient(http, url, {}).current_order("1" * 20)


async def test_a_service_that_hangs_times_out() -> None:
    """After 2 s per attempt, 3 s for all attempts."""
    async with FaultProxy(1) as proxy, proxy.delaying(60), httpx.AsyncClient() as http, asyncio.timeout(5.5):
        with pytest.raises(Unavailable):
            await OrderClient(http, f"http://{HOST}:{proxy.port}", {}).current_order("1" * 20)


@asynccontextmanager
async def order_service_that_breaks(times: int) -> AsyncIterator[str]:
    """Server that closes so many connections without an answer, then answers 404."""
    connections = itertools.count(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if next(connections) > times:
            writer.write(b'HTTP/1.1 404 Not Found\r\ncontent-length: 18\r\n\r\n{"detail": "none"}')
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
