"""The whole way of an event, through the three services on real ports."""

import asyncio
import copy
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from shared.messaging import AwsClients
from tests.scm import turn_taken
from tests.serving import OPERATOR, Served, eventually
from tests.test_order_api import ORDER

QUEUE = "scm-adapter-order-event-queue"


async def stock(scm: Served, **on_hand: int) -> None:
    for sku, count in on_hand.items():
        answer = await scm.http.put(f"/back-office/stock/{sku}", json={"onHand": count}, headers=OPERATOR)
        answer.raise_for_status()


async def completed_order(order: Served, **lines: int) -> str:
    body = copy.deepcopy(ORDER)
    body["orderLines"] = [
        {"sku": sku, "name": sku, "quantity": quantity, "unitPrice": 100} for sku, quantity in lines.items()
    ]
    order_id: str = (await order.http.post("/orders", json=body)).json()["id"]
    (await order.http.post(f"/orders/{order_id}/complete")).raise_for_status()
    return order_id


async def get(service: Served, path: str, **params: str) -> Any:
    answer = await service.http.get(path, params=params)
    answer.raise_for_status()
    return answer.json()


async def status_is(order: Served, order_id: str, status: str) -> dict[str, Any] | None:
    found: dict[str, Any] = await get(order, f"/orders/{order_id}")
    return found if found["status"] == status else None


async def all_absorbed(aws: AwsClients, queues: Sequence[str] = (QUEUE,)) -> bool:
    """Nothing waits in the queues, and nothing is leased."""
    for queue in queues:
        url = (await aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        answer = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = answer["Attributes"]
        if counts["ApproximateNumberOfMessages"] != "0":
            return False
        if counts["ApproximateNumberOfMessagesNotVisible"] != "0":
            return False
    return True


async def test_a_completed_order_is_prepared_under_one_invoice(order: Served, scm: Served) -> None:
    """REST → event log → relay → adapter → SNS → SQS → SCM → and the same way back, until REST shows it."""
    await stock(scm, mug=10, tray=1)
    order_id = await completed_order(order, mug=3, tray=1)
    prepared = await eventually(lambda: invoiced(order, order_id))
    [invoice] = await get(scm, "/external-api/invoices", orderId=order_id)
    assert invoice["id"] == prepared["invoiceId"]
    assert invoice["deliveryAddress"] == ORDER["deliveryAddress"]
    assert (await get(scm, f"/orders/{order_id}"))["status"] == "INVOICED"
    assert {each["sku"]: each["available"] for each in await get(scm, "/back-office/stock")} == {
        "mug": 7,
        "tray": 0,
    }


async def invoiced(order: Served, order_id: str) -> dict[str, Any] | None:
    """The order is PREPARING and knows its invoice."""
    found = await status_is(order, order_id, "PREPARING")
    return found if found and found["invoiceId"] else None


async def test_a_parcel_is_followed_to_the_buyer(order: Served, scm: Served) -> None:
    """What the carrier tells SCM over REST shows at the order, under the same invoice."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=3)
    invoice_id = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    for step, status in (("dispatched", "SHIPPED"), ("delivered", "DELIVERED")):
        path = f"/external-api/invoices/{invoice_id}/{step}"
        (await scm.http.post(path, headers=OPERATOR)).raise_for_status()
        found = await eventually(lambda status=status: status_is(order, order_id, status))  # type: ignore[misc]
        assert found["invoiceId"] == invoice_id


async def test_an_order_in_preparation_is_cancelled_by_scm(order: Served, scm: Served) -> None:
    """The order waits for SCM's word, which comes when the invoice is void."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=3)
    await eventually(lambda: invoiced(order, order_id))
    answer = (await order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()
    assert answer.json()["status"] == "CANCELLING"
    await eventually(lambda: status_is(order, order_id, "CANCELLED"))
    [invoice] = await get(scm, "/external-api/invoices", orderId=order_id)
    assert invoice["status"] == "VOID"


async def test_a_parcel_that_has_left_is_not_called_back(order: Served, scm: Served) -> None:
    """The carrier comes a moment before the cancellation, which is rejected: the order goes on."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=3)
    invoice_id = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    path = f"/external-api/invoices/{invoice_id}/dispatched"
    async with asyncio.TaskGroup() as group, turn_taken(scm.app.state.database, order_id) as queued:
        group.create_task(scm.http.post(path, headers=OPERATOR))
        await queued(1)
        answer = (await order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()
        assert answer.json()["status"] == "CANCELLING"
        await queued(2)
    await eventually(lambda: status_is(order, order_id, "SHIPPED"))


async def test_an_address_changed_in_preparation_is_where_the_goods_go(order: Served, scm: Served) -> None:
    """A new invoice takes the place of the old one, and the order knows it."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=3)
    first = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    address = ORDER["deliveryAddress"] | {"street": "99 Gangnam-daero"}
    (await order.http.put(f"/orders/{order_id}/delivery-address", json=address)).raise_for_status()

    async def has_another() -> str | None:
        """The order has another invoice."""
        known: str = (await get(order, f"/orders/{order_id}"))["invoiceId"]
        return known if known != first else None

    second = await eventually(has_another)
    invoices = await get(scm, "/external-api/invoices", orderId=order_id)
    assert [(each["id"], each["status"]) for each in invoices] == [(first, "VOID"), (second, "ISSUED")]
    assert invoices[1]["deliveryAddress"] == address


async def test_what_exceeds_the_stock_is_backordered_and_sets_nothing_aside(
    order: Served, scm: Served
) -> None:
    """All lines or none; SCM says what is missing, and issues no invoice."""
    await stock(scm, mug=10, tray=1)
    order_id = await completed_order(order, mug=3, tray=4, cup=1)
    await eventually(lambda: status_is(order, order_id, "BACKORDERED"))
    shortages = (await get(scm, f"/orders/{order_id}"))["shortages"]
    assert shortages == [{"sku": "cup", "quantity": 1}, {"sku": "tray", "quantity": 3}]
    assert await get(scm, "/external-api/invoices", orderId=order_id) == []
    assert all(each["reserved"] == 0 for each in await get(scm, "/back-office/stock"))


async def test_orders_at_the_same_time_never_take_more_than_there_is(order: Served, scm: Served) -> None:
    """Of twelve orders for two each, the five that the stock suffices for are prepared."""
    await stock(scm, mug=10)
    ids = await asyncio.gather(*(completed_order(order, mug=2) for _ in range(12)))

    async def statuses() -> list[str] | None:
        found = [(await get(order, f"/orders/{order_id}"))["status"] for order_id in ids]
        return found if "COMPLETED" not in found else None

    found = await eventually(statuses, within=30)
    assert sorted(found) == ["BACKORDERED"] * 7 + ["PREPARING"] * 5
    [mug] = await get(scm, "/back-office/stock")
    assert (mug["onHand"], mug["reserved"]) == (10, 10)


async def test_what_is_held_back_is_unknown_to_scm(order: Served, scm: Served) -> None:
    """Placed, commented on, cancelled before it was paid: none of that leaves."""
    order_id = (await order.http.post("/orders", json=ORDER)).json()["id"]
    await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})
    await order.http.post(f"/orders/{order_id}/cancel")

    async def all_decided() -> list[Any] | None:
        events = (await get(order, f"/orders/{order_id}/events"))["published"]
        return events if all(event["decision"] for event in events) else None

    events = await eventually(all_decided)
    assert [(event["type"], event["decision"], event["rule"]) for event in events] == [
        ("OrderPlaced", "held_back", "placed-is-not-paid"),
        ("MemoWritten", "held_back", "memos-stay-here"),
        ("OrderCancelled", "held_back", "cancelled-before-scm-knew"),
    ]
    assert (await scm.http.get(f"/orders/{order_id}")).status_code == 404


async def test_a_duplicate_delivery_makes_one_invoice(order: Served, scm: Served, aws: AwsClients) -> None:
    """G3: the same message ten times more, as a standard queue may; SCM's side stays as it is."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=2)
    await eventually(lambda: invoiced(order, order_id))
    before = await get(scm, f"/orders/{order_id}")
    [event] = (await get(order, f"/orders/{order_id}/events"))["published"][1:]
    url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    body = {
        "source": {
            "id": order_id,
            "version": 2,
            "status": "COMPLETED",
            "orderLines": [{"sku": "mug", "quantity": 2}],
        },
        "occurenceOn": 1,
    }
    about = {
        "ce-id": event["id"],
        "ce-type": "OrderCompleted",
        "ce-subject": order_id,
        "ce-sequence": "2",
    }
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in about.items()}
    for _ in range(10):
        await aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body), MessageAttributes=attributes)
    await eventually(lambda: all_absorbed(aws))
    assert len(await get(scm, "/external-api/invoices", orderId=order_id)) == 1
    assert await get(scm, f"/orders/{order_id}") == before
    [mug] = await get(scm, "/back-office/stock")
    assert mug["reserved"] == 2


async def test_an_answer_of_scm_that_comes_late_changes_nothing(
    order: Served, scm: Served, aws: AwsClients
) -> None:
    """G4: a shortage of an older version than what the order already knows is superseded."""
    await stock(scm, mug=10)
    order_id = await completed_order(order, mug=2)
    prepared = await eventually(lambda: invoiced(order, order_id))
    queue = "order-adapter-scm-event-queue"
    url = (await aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
    body = {"source": {"id": order_id, "version": 1, "status": "SHORT"}, "occurenceOn": 1}
    about = {"ce-id": "late", "ce-type": "StockShort", "ce-subject": order_id, "ce-sequence": "1"}
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in about.items()}
    await aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body), MessageAttributes=attributes)
    await eventually(lambda: all_absorbed(aws, [queue]))
    assert await get(order, f"/orders/{order_id}") == prepared
    received = (await get(order, f"/orders/{order_id}/events"))["received"]
    assert received[-1]["outcome"] == "superseded"


async def test_an_order_that_the_order_service_does_not_know_is_a_dead_letter(
    order: Served, scm: Served, aws: AwsClients
) -> None:
    """A 404 is final: no invoice, no stock set aside, and the reason says it."""
    await stock(scm, mug=10)
    body = {
        "source": {
            "id": "1" * 20,
            "version": 2,
            "status": "COMPLETED",
            "orderLines": [{"sku": "mug", "quantity": 2}],
        },
        "occurenceOn": 1,
    }
    url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    await aws.sqs.send_message(
        QueueUrl=url,
        MessageBody=json.dumps(body),
        MessageAttributes={"ce-type": {"DataType": "String", "StringValue": "OrderCompleted"}},
    )
    dead_letter_url = (await aws.sqs.get_queue_url(QueueName=f"{QUEUE}-dlq"))["QueueUrl"]

    async def dead_letter() -> Any:
        answer = await aws.sqs.receive_message(QueueUrl=dead_letter_url, MessageAttributeNames=["All"])
        return answer.get("Messages")

    [letter] = await eventually(dead_letter)
    reason = letter["MessageAttributes"]["dead-letter-reason"]["StringValue"]
    assert reason == f"UnknownOrder: the order service has no order {'1' * 20}"
    [mug] = await get(scm, "/back-office/stock")
    assert mug["reserved"] == 0


async def test_the_trace_of_the_command_goes_all_the_way(order: Served, scm: Served) -> None:
    """A traceparent given with the command is on the event that SCM published about it."""
    await stock(scm, mug=10)
    order_id = (await order.http.post("/orders", json=ORDER)).json()["id"]
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    await order.http.post(f"/orders/{order_id}/complete", headers=headers)
    await eventually(lambda: status_is(order, order_id, "BACKORDERED"))
    async with scm.app.state.database.connection() as connection:
        [traceparent] = await connection.fetchrow(
            "SELECT traceparent FROM event_log WHERE subject = $1", order_id
        )
    assert trace in traceparent


async def test_the_documents_of_the_apis_are_served(order: Served, scm: Served, adapter: Served) -> None:
    """OpenAPI, with each operation named."""
    for service in (order, scm, adapter):
        document = (await service.http.get("/openapi.json")).json()
        operations = [operation for path in document["paths"].values() for operation in path.values()]
        assert operations
        assert all(operation["summary"] for operation in operations)


@pytest.mark.parametrize(
    "path",
    [
        "/orders/%00",
        "/orders/%00/events",
        "/back-office/stock?after=%00",
        "/external-api/invoices?orderId=%00",
    ],
)
async def test_what_no_database_takes_is_refused_by_scm(scm: Served, path: str) -> None:
    """4xx as problem details, not a 500."""
    answer = await scm.http.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_path_is_a_problem_as_well(order: Served) -> None:
    """Every error has the same shape."""
    answer: httpx.Response = await order.http.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
