"""SCM's answers at the Order service, as messages on its real queue."""

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
    """The Order service alone; what SCM says is sent by the test."""
    async with order_service(order_database, aws_url, f"http://{HOST}:1") as served:
        yield served


async def say(
    aws: AwsClients,
    order_id: str,
    version: int,
    event: str,
    status: str,
    invoice_id: str | None = None,
    order_version: int | None = None,
) -> None:
    """Sends what SCM publishes about its fulfilment of the order."""
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


async def now(order: Served, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await order.http.get(f"/orders/{order_id}")).json()
    return found


async def told(order: Served, aws: AwsClients, order_id: str, version: int, *said: Any) -> dict[str, Any]:
    """The order, once it has heard what is said."""
    await say(aws, order_id, version, *said)

    async def heard() -> bool:
        received = (await order.http.get(f"/orders/{order_id}/events")).json()["received"]
        return any(message["version"] == version for message in received)

    await eventually(heard)
    return await now(order, order_id)


async def completed(order: Served) -> str:
    order_id = await place(order)
    (await order.http.post(f"/orders/{order_id}/complete")).raise_for_status()
    return order_id


async def test_the_order_goes_where_scm_says_it_is(order: Served, aws: AwsClients) -> None:
    """Each step is a new version of the order; what changes nothing is none."""
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
    for at_scm, (said, status, version) in enumerate(steps, start=1):
        found = await told(order, aws, order_id, at_scm, *said)
        assert (found["status"], found["version"]) == (status, version), said
    assert found["invoiceId"] == "invoice-2"


async def test_a_cancellation_that_came_in_time_ends_the_order(order: Served, aws: AwsClients) -> None:
    """An invoice that SCM issued before it heard of the cancellation is noted and moves nothing."""
    order_id = await completed(order)
    await order.http.post(f"/orders/{order_id}/cancel")
    found = await told(order, aws, order_id, 1, "DeliveryInvoiceIssued", "INVOICED", "invoice-1")
    assert (found["status"], found["invoiceId"]) == ("CANCELLING", "invoice-1")
    found = await told(order, aws, order_id, 2, "FulfilmentCancelled", "CANCELLED")
    assert (found["status"], found["invoiceId"]) == ("CANCELLED", None)


async def test_a_cancellation_that_came_too_late_changes_nothing(order: Served, aws: AwsClients) -> None:
    """The order is what SCM says it is by then."""
    order_id = await completed(order)
    await order.http.post(f"/orders/{order_id}/cancel")
    found = await told(order, aws, order_id, 3, "CancellationRejected", "DELIVERED", "invoice-1")
    assert (found["status"], found["invoiceId"]) == ("DELIVERED", "invoice-1")


STREETS = ["1 Seoullo", "2 Seoullo", "3 Seoullo"]


async def moved_house(order: Served, *streets: str) -> str:
    """A completed order, version 2, whose address was then changed to each of these, one after the other."""
    order_id = await completed(order)
    for street in streets:
        address = ORDER["deliveryAddress"] | {"street": street}
        answer = await order.http.put(f"/orders/{order_id}/delivery-address", json=address)
        answer.raise_for_status()
    return order_id


def place_of(order: dict[str, Any]) -> tuple[str, str, int]:
    return order["status"], order["deliveryAddress"]["street"], order["version"]


@pytest.mark.parametrize(
    ("said", "status", "then", "asked_at", "street"),
    [
        ("ParcelDispatched", "DISPATCHED", "SHIPPED", 2, ORDER["deliveryAddress"]["street"]),
        ("ParcelDelivered", "DELIVERED", "DELIVERED", 3, STREETS[0]),
        ("CancellationRejected", "DISPATCHED", "SHIPPED", 4, STREETS[1]),
        ("ParcelDispatched", "DISPATCHED", "SHIPPED", 5, STREETS[2]),
    ],
)
async def test_an_order_that_has_left_has_the_address_that_its_parcel_has(
    order: Served, aws: AwsClients, said: str, status: str, then: str, asked_at: int, street: str
) -> None:
    """The one of the version at which SCM asked for it, whatever it was changed to since, and whichever of
    SCM's answers says first that it has left. It is one new version; a memo in between has no address."""
    order_id = await moved_house(order, *STREETS)
    await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})
    if said == "CancellationRejected":
        await order.http.post(f"/orders/{order_id}/cancel")
    before = await now(order, order_id)
    found = await told(order, aws, order_id, 1, said, status, "invoice-1", asked_at)
    assert place_of(found) == (then, street, before["version"] + 1)


async def test_what_is_said_again_of_a_parcel_changes_nothing(order: Served, aws: AwsClients) -> None:
    """The order went back to the address of its parcel, and stays there."""
    order_id = await moved_house(order, STREETS[0])
    shipped = await told(order, aws, order_id, 1, "ParcelDispatched", "DISPATCHED", "invoice-1", 2)
    again = await told(order, aws, order_id, 2, "CancellationRejected", "DISPATCHED", "invoice-1", 2)
    assert again == shipped
    delivered = await told(order, aws, order_id, 3, "ParcelDelivered", "DELIVERED", "invoice-1", 2)
    street = ORDER["deliveryAddress"]["street"]
    assert place_of(delivered) == ("DELIVERED", street, shipped["version"] + 1)


@pytest.mark.parametrize(
    ("said", "status", "asked_at"),
    [("DeliveryInvoiceIssued", "INVOICED", 2), ("ParcelDispatched", "DISPATCHED", None)],
    ids=["not left yet", "not said"],
)
async def test_an_address_that_may_still_be_followed_stays(
    order: Served, aws: AwsClients, said: str, status: str, asked_at: int | None
) -> None:
    """The goods have not left, so that SCM will ask again; or an SCM of before does not say when it asked."""
    order_id = await moved_house(order, STREETS[0])
    found = await told(order, aws, order_id, 1, said, status, "invoice-1", asked_at)
    assert found["deliveryAddress"]["street"] == STREETS[0]


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_about_no_paid_order_is_a_dead_letter(
    order: Served, aws: AwsClients, known: bool
) -> None:
    """At once, with the reason: the order is unknown, or it was never paid."""
    order_id = await place(order) if known else "20210717235959000000"
    await say(aws, order_id, 1, "StockReserved", "RESERVED")
    assert await dead_letter_reason(aws, QUEUE) == (
        f"TerminalError: order {order_id} is PLACED; SCM cannot make it PREPARING"
        if known
        else f"TerminalError: there is no order {order_id}"
    )
    await eventually(lambda: all_absorbed(aws, [QUEUE]))
