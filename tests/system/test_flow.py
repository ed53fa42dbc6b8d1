"""Events on their way through the services on real ports."""

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from snsqs import AwsClients, Message, SnsChannel, Topology, aws_clients
from snsqs.headers import ID

from local.postgres import Postgres
from local.reconcile import compare
from tests.conftest import REGION, emptied, fresh_database
from tests.console.letters import dead_letter_reason
from tests.order.test_api import ORDER
from tests.scm.supply_chain import ELSEWHERE, completed, order_locked
from tests.serving import OPERATOR, Served, adapter_service, eventually, order_service, scm_service

QUEUE = "scm-adapter-order-event-queue"


@dataclass
class System:
    """Order, adapter and SCM with an SNS/SQS server. The Order service can be stopped."""

    adapter: Served
    scm: Served
    aws: AwsClients
    order: Served
    start_order: Callable[[int], AbstractAsyncContextManager[Served]]
    running: AsyncExitStack

    @asynccontextmanager
    async def without_order(self) -> AsyncIterator[None]:
        """Stop the Order service; start it again on the same port at the end."""
        await self.running.aclose()
        yield
        self.order = await self.running.enter_async_context(self.start_order(self.order.port))


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[System]:
    """One system for all tests here; each has orders and articles of its own."""
    async with (
        fresh_database(postgres_server, "template_order") as order_database,
        fresh_database(postgres_server, "template_scm") as scm_database,
        aws_clients(region=REGION, endpoint_url=await emptied(aws_server)) as aws,
        adapter_service(aws_server) as adapter,
        AsyncExitStack() as running,
    ):
        start_order = partial(order_service, order_database, aws_server, adapter.url)
        order = await running.enter_async_context(start_order(0))
        async with scm_service(scm_database, aws_server, adapter.url, order.url) as scm:
            yield System(adapter, scm, aws, order, start_order, running)


@pytest.fixture
def order(system: System) -> Served:
    return system.order


@pytest.fixture
def adapter(system: System) -> Served:
    return system.adapter


@pytest.fixture
def scm(system: System) -> Served:
    return system.scm


@pytest.fixture
def aws(system: System) -> AwsClients:
    return system.aws


async def publish(aws: AwsClients, *messages: Message[str]) -> None:
    """Publish to the topic of the orders' events, as the adapter does."""
    topic = SnsChannel(aws.sns, Topology(aws, create=True), "order-events")
    await topic.send(messages)


async def stock_of(scm: Served, sku: str) -> tuple[int, int]:
    """Return the quantities on hand and reserved."""
    [found] = [each for each in await get(scm, "/back-office/stock") if each["sku"] == sku]
    return found["onHand"], found["reserved"]


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
    """Whether no message is visible or leased in the queues."""
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
    """REST → event log → relay → adapter → SNS → SQS → SCM, and back until REST shows it."""
    await stock(scm, mug=10, cup=1)
    order_id = await completed_order(order, mug=3, cup=1)
    prepared = await eventually(lambda: invoiced(order, order_id))
    [invoice] = await get(scm, "/external-api/invoices", orderId=order_id)
    assert invoice["id"] == prepared["invoiceId"]
    assert invoice["deliveryAddress"] == ORDER["deliveryAddress"]
    assert (await get(scm, f"/orders/{order_id}"))["status"] == "INVOICED"
    assert [await stock_of(scm, "mug"), await stock_of(scm, "cup")] == [(10, 3), (1, 1)]


async def invoiced(order: Served, order_id: str) -> dict[str, Any] | None:
    """The order is PREPARING and knows its invoice."""
    found = await status_is(order, order_id, "PREPARING")
    return found if found and found["invoiceId"] else None


async def test_a_parcel_is_followed_to_the_buyer(order: Served, scm: Served) -> None:
    """Reports of the carrier to SCM show at the order, under the same invoice."""
    await stock(scm, jug=10)
    order_id = await completed_order(order, jug=3)
    invoice_id = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    for step, status in (("dispatched", "SHIPPED"), ("delivered", "DELIVERED")):
        path = f"/external-api/invoices/{invoice_id}/{step}"
        (await scm.http.post(path, headers=OPERATOR)).raise_for_status()
        found = await eventually(lambda status=status: status_is(order, order_id, status))  # type: ignore[misc]
        assert found["invoiceId"] == invoice_id


async def test_an_order_in_preparation_is_cancelled_by_scm(order: Served, scm: Served) -> None:
    """The order is CANCELLING until SCM has voided the invoice."""
    await stock(scm, pan=10)
    order_id = await completed_order(order, pan=3)
    await eventually(lambda: invoiced(order, order_id))
    answer = (await order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()
    assert answer.json()["status"] == "CANCELLING"
    await eventually(lambda: status_is(order, order_id, "CANCELLED"))
    [invoice] = await get(scm, "/external-api/invoices", orderId=order_id)
    assert invoice["status"] == "VOID"


async def test_a_dispatched_order_cannot_be_cancelled(order: Served, scm: Served) -> None:
    """The dispatch is reported just before the cancellation, which is rejected."""
    await stock(scm, kettle=10)
    order_id = await completed_order(order, kettle=3)
    invoice_id = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    path = f"/external-api/invoices/{invoice_id}/dispatched"
    async with asyncio.TaskGroup() as group, order_locked(scm.database, order_id) as queued:
        group.create_task(scm.http.post(path, headers=OPERATOR))
        await queued(1)
        answer = (await order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()
        assert answer.json()["status"] == "CANCELLING"
        await queued(2)
    await eventually(lambda: status_is(order, order_id, "SHIPPED"))


async def test_an_address_changed_in_preparation_is_on_the_invoice(order: Served, scm: Served) -> None:
    """A new invoice replaces the old one, and the order knows it."""
    await stock(scm, teapot=10)
    order_id = await completed_order(order, teapot=3)
    first = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    (await order.http.put(f"/orders/{order_id}/delivery-address", json=ELSEWHERE)).raise_for_status()

    async def has_another() -> str | None:
        """Another invoice of the order."""
        known: str = (await get(order, f"/orders/{order_id}"))["invoiceId"]
        return known if known != first else None

    second = await eventually(has_another)
    invoices = await get(scm, "/external-api/invoices", orderId=order_id)
    assert [(each["id"], each["status"]) for each in invoices] == [(first, "VOID"), (second, "ISSUED")]
    assert invoices[1]["deliveryAddress"] == ELSEWHERE


async def test_an_address_changed_after_dispatch_is_reverted(order: Served, scm: Served) -> None:
    """G4: the goods go to the old address, and both sides agree on it."""
    await stock(scm, samovar=10)
    order_id = await completed_order(order, samovar=3)
    invoice_id = (await eventually(lambda: invoiced(order, order_id)))["invoiceId"]
    path = f"/external-api/invoices/{invoice_id}/dispatched"
    async with asyncio.TaskGroup() as group, order_locked(scm.database, order_id) as queued:
        group.create_task(scm.http.post(path, headers=OPERATOR))
        await queued(1)
        changed = await order.http.put(f"/orders/{order_id}/delivery-address", json=ELSEWHERE)
        assert changed.raise_for_status().json()["deliveryAddress"] == ELSEWHERE
        await queued(2)
    shipped = await eventually(lambda: status_is(order, order_id, "SHIPPED"))
    assert shipped["deliveryAddress"] == ORDER["deliveryAddress"]

    async def is_received() -> bool:
        """SCM has handled the change, which came too late."""
        received = (await get(scm, f"/orders/{order_id}/events"))["received"]
        return "DeliveryAddressChanged" in [each["type"] for each in received]

    await eventually(is_received)
    [invoice] = await get(scm, "/external-api/invoices", orderId=order_id)
    assert (invoice["status"], invoice["deliveryAddress"]) == ("DISPATCHED", ORDER["deliveryAddress"])
    found = (await compare(order.http, scm.http)).differences
    assert [each for each in found if order_id in each] == []


async def test_both_sides_agree_on_an_order(order: Served, scm: Served) -> None:
    """Their reconciliations have the same invoice, reservations and address, which SCM has read over REST."""
    await stock(scm, tray=2)
    order_id = await completed_order(order, tray=2)
    await eventually(lambda: invoiced(order, order_id))
    asked = {"after": str(int(order_id) - 1), "limit": "1"}
    [at_order] = (await get(order, "/reconciliation", **asked))["orders"]
    [at_scm] = (await get(scm, "/reconciliation", **asked))["orders"]
    assert (at_order["id"], [at_order["invoiceId"]]) == (at_scm["id"], at_scm["liveInvoices"])
    assert at_order["addressDigest"] == at_scm["addressDigest"]
    assert at_order["lines"] == at_scm["lines"] == at_scm["reserved"]


async def test_an_order_beyond_the_stock_is_backordered_without_reservations(
    order: Served, scm: Served
) -> None:
    """All lines or none; SCM lists the shortages and issues no invoice."""
    await stock(scm, plate=10, bowl=1)
    order_id = await completed_order(order, plate=3, bowl=4, vase=1)
    await eventually(lambda: status_is(order, order_id, "BACKORDERED"))
    shortages = (await get(scm, f"/orders/{order_id}"))["shortages"]
    assert shortages == [{"sku": "bowl", "quantity": 3}, {"sku": "vase", "quantity": 1}]
    assert await get(scm, "/external-api/invoices", orderId=order_id) == []
    assert [await stock_of(scm, "plate"), await stock_of(scm, "bowl")] == [(10, 0), (1, 0)]


async def test_concurrent_orders_never_reserve_more_than_the_stock(order: Served, scm: Served) -> None:
    """Of twelve orders for two each, five are prepared from a stock of ten."""
    await stock(scm, fork=10)
    ids = await asyncio.gather(*(completed_order(order, fork=2) for _ in range(12)))

    async def statuses() -> list[str] | None:
        found = [(await get(order, f"/orders/{order_id}"))["status"] for order_id in ids]
        return found if "COMPLETED" not in found else None

    found = await eventually(statuses, within=60)
    assert sorted(found) == ["BACKORDERED"] * 7 + ["PREPARING"] * 5
    assert await stock_of(scm, "fork") == (10, 10)


async def test_an_order_whose_events_are_held_back_is_unknown_to_scm(order: Served, scm: Served) -> None:
    """Placed, given a memo, cancelled before completion."""
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
    """G3: ten more deliveries of the same message, as a standard queue permits, change nothing at SCM."""
    await stock(scm, knife=10)
    order_id = await completed_order(order, knife=2)
    await eventually(lambda: invoiced(order, order_id))
    before = await get(scm, f"/orders/{order_id}")
    [event] = (await get(order, f"/orders/{order_id}/events"))["published"][1:]
    again = completed(order_id, knife=2).copy(headers={ID: event["id"]})
    await publish(aws, *[again] * 10)
    await eventually(lambda: all_absorbed(aws))
    assert len(await get(scm, "/external-api/invoices", orderId=order_id)) == 1
    assert await get(scm, f"/orders/{order_id}") == before
    assert await stock_of(scm, "knife") == (10, 2)


async def test_a_late_reply_of_scm_changes_nothing(order: Served, scm: Served, aws: AwsClients) -> None:
    """G4: a shortage is superseded by a newer version that the order already has."""
    await stock(scm, spoon=10)
    order_id = await completed_order(order, spoon=2)
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


async def test_an_event_of_an_unknown_order_is_a_dead_letter(
    order: Served, scm: Served, aws: AwsClients
) -> None:
    """A 404 of the Order service is final: no invoice and no reservation; the dead letter has the reason."""
    await stock(scm, ladle=10)
    await publish(aws, completed("1" * 20, ladle=2))
    assert await dead_letter_reason(aws, QUEUE) == f"UnknownOrder: the order service has no order {'1' * 20}"
    assert await stock_of(scm, "ladle") == (10, 0)


async def test_the_trace_of_the_command_reaches_scms_events(order: Served, scm: Served) -> None:
    """The trace id of a command's traceparent is on the event that SCM publishes in the end."""
    order_id = (await order.http.post("/orders", json=ORDER)).json()["id"]
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    await order.http.post(f"/orders/{order_id}/complete", headers=headers)
    await eventually(lambda: status_is(order, order_id, "BACKORDERED"))
    async with scm.database.connection() as connection:
        traceparent = await connection.fetchval(
            "SELECT traceparent FROM event_log WHERE subject = $1", order_id
        )
    assert trace in traceparent


async def test_messages_wait_for_an_unavailable_order_service(system: System) -> None:
    """It is stopped when SCM is about to read changed addresses. /readyz names the cause, and the messages
    succeed after the restart without another receive."""
    await stock(system.scm, whisk=6)
    ids = [await completed_order(system.order, whisk=1) for _ in range(6)]
    for order_id in ids:
        await eventually(lambda order_id=order_id: invoiced(system.order, order_id))  # type: ignore[misc]
    async with AsyncExitStack() as turns:
        for order_id in ids:
            queued = await turns.enter_async_context(order_locked(system.scm.database, order_id))
            path = f"/orders/{order_id}/delivery-address"
            (await system.order.http.put(path, json=ELSEWHERE)).raise_for_status()
        await queued(6)
        async with system.without_order():
            await turns.aclose()
            await eventually(lambda: readiness_is(system.scm, "circuit open: did not answer"))
            assert await circuit(system.scm) == "opened"
    for order_id in ids:
        await eventually(lambda order_id=order_id: goes_elsewhere(system.scm, order_id), within=90)  # type: ignore[misc]
        received = (await get(system.scm, f"/orders/{order_id}/events"))["received"]
        assert {each["receiveCount"] for each in received} == {1}
    await eventually(lambda: readiness_is(system.scm, "ok"))
    assert await circuit(system.scm) == "closed"


async def goes_elsewhere(scm: Served, order_id: str) -> bool:
    """Whether the order's second invoice has the new address."""
    invoices = await get(scm, "/external-api/invoices", orderId=order_id)
    return [each["deliveryAddress"] for each in invoices][1:] == [ELSEWHERE]


async def readiness_is(scm: Served, expected: str) -> bool:
    """Whether /readyz is 200 and has this text about the Order service."""
    readiness = await get(scm, "/readyz")
    return bool(readiness["checks"]["order service"] == expected)


async def circuit(scm: Served) -> str:
    """Return the state of the circuit breaker in the metrics."""
    metrics = (await scm.http.get("/metrics")).text
    [state] = re.findall(r'circuit\{circuit="([a-z-]+)",service="order service"\} 1.0', metrics)
    return str(state)


async def test_the_documents_of_the_apis_are_served(order: Served, scm: Served, adapter: Served) -> None:
    """OpenAPI with a summary of each operation."""
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
async def test_values_that_no_database_accepts_are_refused(scm: Served, path: str) -> None:
    """4xx as problem details, not a 500."""
    answer = await scm.http.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_path_is_problem_details(order: Served) -> None:
    """As every error."""
    answer: httpx.Response = await order.http.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
