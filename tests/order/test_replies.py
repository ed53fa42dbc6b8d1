"""Replies of SCM to the Order service, as messages on its queue."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from snsqs import AwsClients

from local.ports import HOST
from tests.console.letters import dead_letter_reason
from tests.order.test_api import ORDER, place
from tests.serving import Served, eventually, order_service
from tests.system.test_flow import all_absorbed

QUEUE = "order-adapter-scm-event-queue"


@pytest.fixture
async def order(order_database: str, aws_url: str) -> AsyncIterator[Served]:
    """The Order service without SCM; the test sends SCM's events."""
    async with order_service(order_database, aws_url, f"http://{HOST}:1") as served:
        yield served


async def send(
    aws: AwsClients,
    order_id: str,
    version: int,
    event: str,
    status: str,
    invoice_id: str | None = None,
    order_version: int | None = None,
) -> None:
    """Send an event of SCM about its fulfilment of the order."""
    url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    source = {
        "id": order_id,
        "version": version,
        "status": status,
        "invoiceId": invoice_id,
        "orderVersion": order_version,
    }
    about = {
        "ce-id": f"{order_id}-{version}",
        "ce-type": event,
        "ce-subject": order_id,
        "ce-sequence": str(version),
    }
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in about.items()}
    body = json.dumps({"source": source, "occurenceOn": 1})
    await aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)


async def read(order: Served, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await order.http.get(f"/orders/{order_id}")).json()
    return found


async def after(order: Served, aws: AwsClients, order_id: str, version: int, *event: Any) -> dict[str, Any]:
    """Send an event and return the order once it is handled."""
    await send(aws, order_id, version, *event)

    async def is_handled() -> bool:
        received = (await order.http.get(f"/orders/{order_id}/events")).json()["received"]
        return any(message["version"] == version for message in received)

    await eventually(is_handled)
    return await read(order, order_id)


async def completed(order: Served) -> str:
    order_id = await place(order)
    (await order.http.post(f"/orders/{order_id}/complete")).raise_for_status()
    return order_id


async def test_the_order_follows_the_fulfilment(order: Served, aws: AwsClients) -> None:
    """Each change is a new version of the order; an event that changes nothing is none."""
    order_id = await completed(order)
    steps: list[tuple[tuple[Any, ...], str, int]] = [
        (("StockShort", "SHORT"), "BACKORDERED", 3),
        (("StockReserved", "RESERVED"), "PREPARING", 4),
        (("DeliveryInvoiceIssued", "INVOICED", "invoice-1"), "PREPARING", 5),
        (("DeliveryInvoiceIssued", "INVOICED", "invoice-2"), "PREPARING", 6),
        (("ParcelDispatched", "DISPATCHED", "invoice-2"), "SHIPPED", 7),
        (("CancellationRejected", "DISPATCHED", "invoice-2"), "SHIPPED", 7),
        (("ParcelDelivered", "DELIVERED", "invoice-2"), "DELIVERED", 8),
    ]
    for fulfilment_version, (event, status, version) in enumerate(steps, start=1):
        found = await after(order, aws, order_id, fulfilment_version, *event)
        assert (found["status"], found["version"]) == (status, version), event
    assert found["invoiceId"] == "invoice-2"


async def test_an_accepted_cancellation_ends_the_order(order: Served, aws: AwsClients) -> None:
    """An invoice that SCM issued before it received the cancellation changes no status."""
    order_id = await completed(order)
    await order.http.post(f"/orders/{order_id}/cancel")
    found = await after(order, aws, order_id, 1, "DeliveryInvoiceIssued", "INVOICED", "invoice-1")
    assert (found["status"], found["invoiceId"]) == ("CANCELLING", "invoice-1")
    found = await after(order, aws, order_id, 2, "FulfilmentCancelled", "CANCELLED")
    assert (found["status"], found["invoiceId"]) == ("CANCELLED", None)


async def test_a_rejected_cancellation_restores_the_status(order: Served, aws: AwsClients) -> None:
    """The order takes the status of the fulfilment."""
    order_id = await completed(order)
    await order.http.post(f"/orders/{order_id}/cancel")
    found = await after(order, aws, order_id, 3, "CancellationRejected", "DELIVERED", "invoice-1")
    assert (found["status"], found["invoiceId"]) == ("DELIVERED", "invoice-1")


STREETS = ["1 Seoullo", "2 Seoullo", "3 Seoullo"]


async def readdressed(order: Served, *streets: str) -> str:
    """Complete an order (version 2), then change its address to each of these streets in turn."""
    order_id = await completed(order)
    for street in streets:
        address = ORDER["deliveryAddress"] | {"street": street}
        answer = await order.http.put(f"/orders/{order_id}/delivery-address", json=address)
        answer.raise_for_status()
    return order_id


def shipment(order: dict[str, Any]) -> tuple[str, str, int]:
    return order["status"], order["deliveryAddress"]["street"], order["version"]


@pytest.mark.parametrize(
    ("event", "status", "then", "invoiced_version", "street"),
    [
        ("ParcelDispatched", "DISPATCHED", "SHIPPED", 2, ORDER["deliveryAddress"]["street"]),
        ("ParcelDelivered", "DELIVERED", "DELIVERED", 3, STREETS[0]),
        ("CancellationRejected", "DISPATCHED", "SHIPPED", 4, STREETS[1]),
        ("ParcelDispatched", "DISPATCHED", "SHIPPED", 5, STREETS[2]),
    ],
)
async def test_a_shipped_order_has_the_address_of_its_parcel(
    order: Served, aws: AwsClients, event: str, status: str, then: str, invoiced_version: int, street: str
) -> None:
    """The address of the version on the invoice, regardless of later changes, and whichever event reports
    the dispatch first. It is one new version; a memo in between has no address."""
    order_id = await readdressed(order, *STREETS)
    await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})
    if event == "CancellationRejected":
        await order.http.post(f"/orders/{order_id}/cancel")
    before = await read(order, order_id)
    found = await after(order, aws, order_id, 1, event, status, "invoice-1", invoiced_version)
    assert shipment(found) == (then, street, before["version"] + 1)


async def test_a_repeated_dispatch_changes_nothing(order: Served, aws: AwsClients) -> None:
    """The order keeps the address of its parcel."""
    order_id = await readdressed(order, STREETS[0])
    shipped = await after(order, aws, order_id, 1, "ParcelDispatched", "DISPATCHED", "invoice-1", 2)
    again = await after(order, aws, order_id, 2, "CancellationRejected", "DISPATCHED", "invoice-1", 2)
    assert again == shipped
    delivered = await after(order, aws, order_id, 3, "ParcelDelivered", "DELIVERED", "invoice-1", 2)
    street = ORDER["deliveryAddress"]["street"]
    assert shipment(delivered) == ("DELIVERED", street, shipped["version"] + 1)


@pytest.mark.parametrize(
    ("event", "status", "invoiced_version"),
    [("DeliveryInvoiceIssued", "INVOICED", 2), ("ParcelDispatched", "DISPATCHED", None)],
    ids=["not dispatched", "no version"],
)
async def test_an_address_that_is_not_final_stays(
    order: Served, aws: AwsClients, event: str, status: str, invoiced_version: int | None
) -> None:
    """The goods have not left; or the event is from an SCM that did not send the version yet."""
    order_id = await readdressed(order, STREETS[0])
    found = await after(order, aws, order_id, 1, event, status, "invoice-1", invoiced_version)
    assert found["deliveryAddress"]["street"] == STREETS[0]


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_reply_about_an_unpaid_order_is_a_dead_letter(
    order: Served, aws: AwsClients, is_known: bool
) -> None:
    """At once, with the reason: the order is unknown, or was never paid."""
    order_id = await place(order) if is_known else "20210717235959000000"
    await send(aws, order_id, 1, "StockReserved", "RESERVED")
    assert await dead_letter_reason(aws, QUEUE) == (
        f"TerminalError: order {order_id} is PLACED; SCM cannot make it PREPARING"
        if is_known
        else f"TerminalError: there is no order {order_id}"
    )
    await eventually(lambda: all_absorbed(aws, [QUEUE]))
