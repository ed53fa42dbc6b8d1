"""Fulfilment through SCM's entry points: events in any order of arrival end in the same state."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from snsqs import Message

from tests.scm.supply_chain import ADDRESS, ELSEWHERE, Scm, address_changed, cancelled, completed


async def fulfilment(scm: Scm, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await scm.get(f"/orders/{order_id}")
    return found


async def test_a_cancellation_before_the_dispatch_undoes_everything(scm_alone: Scm) -> None:
    """The stock is released, the invoice void, and SCM publishes the cancellation."""
    order_id = await scm_alone.invoiced_order(kettle=3)
    await scm_alone.deliver(cancelled(order_id, kettle=3))
    found = await fulfilment(scm_alone, order_id)
    assert (found["status"], found["invoiceId"]) == ("CANCELLED", None)
    assert [each["status"] for each in found["reservations"]] == ["RELEASED"]
    assert [each["status"] for each in found["invoices"]] == ["VOID"]
    assert await scm_alone.published(order_id) == [
        "StockReserved",
        "DeliveryInvoiceIssued",
        "FulfilmentCancelled",
    ]


async def test_a_cancellation_before_the_completion_supersedes_it(scm_alone: Scm) -> None:
    """SCM publishes the cancellation; the later completion has no effect."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(cancelled(order_id), completed(order_id))
    assert (await fulfilment(scm_alone, order_id))["status"] == "CANCELLED"
    assert await scm_alone.published(order_id) == ["FulfilmentCancelled"]
    assert await scm_alone.invoices(order_id) == []
    assert order_id not in scm_alone.orders.requests


async def test_a_repeated_cancellation_is_published_once(scm_alone: Scm) -> None:
    """Also as an event of a newer version."""
    order_id = await scm_alone.invoiced_order()
    await scm_alone.deliver(cancelled(order_id, version=4), cancelled(order_id, version=5))
    assert (await scm_alone.published(order_id)).count("FulfilmentCancelled") == 1


@pytest.mark.parametrize("steps", [["dispatched"], ["dispatched", "delivered"]])
async def test_a_cancellation_after_the_dispatch_is_rejected(scm_alone: Scm, steps: list[str]) -> None:
    """The rejection is a new version, with the current status."""
    order_id = await scm_alone.invoiced_order()
    invoice = await scm_alone.live_invoice(order_id)
    for step in steps:
        (await scm_alone.report(invoice["id"], step)).raise_for_status()
    before = await fulfilment(scm_alone, order_id)
    await scm_alone.deliver(cancelled(order_id))
    assert await fulfilment(scm_alone, order_id) == before | {"version": before["version"] + 1}
    assert (await scm_alone.published(order_id))[-1] == "CancellationRejected"
    assert (await scm_alone.live_invoice(order_id))["id"] == invoice["id"]


async def test_an_address_change_before_the_completion_opens_the_order(scm_alone: Scm) -> None:
    """The address is read once; the later completion is superseded."""
    order_id = scm_alone.new_order(ELSEWHERE)
    await scm_alone.deliver(address_changed(order_id), completed(order_id))
    assert (await scm_alone.live_invoice(order_id))["deliveryAddress"] == ELSEWHERE
    assert scm_alone.orders.requests.count(order_id) == 1
    assert await scm_alone.published(order_id) == ["StockReserved", "DeliveryInvoiceIssued"]


async def test_every_event_carries_the_whole_state(scm_alone: Scm) -> None:
    """Status, invoice and the order's version with the invoice's address: the newest event is sufficient, as
    older ones may arrive later."""
    order_id = await scm_alone.invoiced_order()
    first = await scm_alone.live_invoice(order_id)
    scm_alone.orders.addresses[order_id], scm_alone.orders.versions[order_id] = ELSEWHERE, 3
    await scm_alone.deliver(address_changed(order_id))
    second = await scm_alone.live_invoice(order_id)
    await scm_alone.report(second["id"], "dispatched")
    await scm_alone.deliver(cancelled(order_id))
    await scm_alone.report(second["id"], "delivered")
    assert await sources(scm_alone, order_id) == [
        ("StockReserved", 1, "RESERVED", None, None),
        ("DeliveryInvoiceIssued", 2, "INVOICED", first["id"], 2),
        ("DeliveryInvoiceIssued", 3, "INVOICED", second["id"], 3),
        ("ParcelDispatched", 4, "DISPATCHED", second["id"], 3),
        ("CancellationRejected", 5, "DISPATCHED", second["id"], 3),
        ("ParcelDelivered", 6, "DELIVERED", second["id"], 3),
    ]


async def test_a_cancelled_fulfilment_has_no_invoice(scm_alone: Scm) -> None:
    """Nor an order version."""
    order_id = await scm_alone.invoiced_order()
    await scm_alone.deliver(cancelled(order_id))
    assert (await sources(scm_alone, order_id))[-1] == ("FulfilmentCancelled", 3, "CANCELLED", None, None)


async def sources(scm: Scm, order_id: str) -> list[tuple[str, int, str, str | None, int | None]]:
    """Published events: type, version, status, invoice, order version."""
    async with scm.database.connection() as connection:
        rows = await connection.fetch(
            "SELECT type, data FROM event_log WHERE subject = $1 ORDER BY position", order_id
        )
    events = [(row["type"], json.loads(row["data"])["source"]) for row in rows]
    return [
        (kind, each["version"], each["status"], each["invoiceId"], each["orderVersion"])
        for kind, each in events
    ]


Outcome = tuple[str, list[str], list[Any]]


async def outcome(scm: Scm, order_id: str) -> Outcome:
    """Final state of an order: status, reserved SKUs, addresses of live invoices."""
    found = await fulfilment(scm, order_id)
    reserved = [each["sku"] for each in found["reservations"] if each["status"] == "OPEN"]
    live = [each["deliveryAddress"] for each in found["invoices"] if each["status"] != "VOID"]
    return found["status"], reserved, live


COMPLETED_AND_CANCELLED = (completed, address_changed, cancelled)
COMPLETED_AND_CHANGED = (completed, address_changed, address_changed)


@pytest.mark.parametrize(
    ("history", "end"),
    [
        (COMPLETED_AND_CANCELLED, ("CANCELLED", [], [])),
        (COMPLETED_AND_CHANGED, ("INVOICED", ["book"], [ELSEWHERE])),
    ],
    ids=["cancelled", "address changed"],
)
async def test_every_permutation_with_duplicates_ends_in_the_same_state(
    scm_alone: Scm, history: Sequence[Callable[..., Message[str]]], end: Outcome
) -> None:
    """G4: every permutation of a history, sequentially and concurrently, each message twice."""
    await scm_alone.stock(book=1_000)

    async def sequentially(order_id: str, messages: Sequence[Message[str]]) -> Outcome:
        for message in messages:
            if message.type == "DeliveryAddressChanged":
                scm_alone.orders.addresses[order_id] = ELSEWHERE
            await scm_alone.send(message, message)
            await scm_alone.wait_until_handled(message)
        return await outcome(scm_alone, order_id)

    async def concurrently(order_id: str, messages: Sequence[Message[str]]) -> Outcome:
        scm_alone.orders.addresses[order_id] = ELSEWHERE
        await scm_alone.send(*messages, *messages)
        for message in messages:
            await scm_alone.wait_until_handled(message)
        return await outcome(scm_alone, order_id)

    arrivals = []
    for arrive in (sequentially, concurrently):
        for permutation in itertools.permutations(enumerate(history, start=2)):
            order_id = scm_alone.new_order(ADDRESS)
            messages = [event(order_id, version, book=1) for version, event in permutation]
            arrivals.append(arrive(order_id, messages))
    assert await asyncio.gather(*arrivals) == [end] * 12
