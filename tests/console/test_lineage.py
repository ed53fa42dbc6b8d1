"""The lineage of an order: hop by hop, composed from the records of the services."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from typing import Any

import pytest

from local.ports import HOST
from tests.order.test_api import place
from tests.serving import DOWN, OPERATOR, Served, console_service, eventually
from tests.snsqs.relays import locked, run
from tests.system.systems import System
from tests.system.test_flow import all_absorbed, completed_order, get, status_is, stock

ORDERS = "scm-adapter-order-event-queue"
REPLIES = "order-adapter-scm-event-queue"

Hop = dict[str, Any]


async def lineage(console: Served, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await get(console, f"/api/orders/{order_id}/lineage")
    return found


async def invoiced(order: Served, order_id: str) -> bool:
    """The order is PREPARING and knows its invoice."""
    found = await status_is(order, order_id, "PREPARING")
    return bool(found and found["invoiceId"])


def path_to(hops: list[Hop], name: str, event_type: str) -> list[Hop]:
    """Return the hops from the first cause to this hop."""
    by_id = {hop["id"]: hop for hop in hops}
    [hop] = [hop for hop in hops if (hop["name"], hop["type"]) == (name, event_type)]
    way = [hop]
    while parent := way[0]["parent"]:
        way.insert(0, by_id[parent])
    return way


@pytest.fixture(scope="module")
async def answered(system: System) -> str:
    """An order that SCM has answered, all of it."""
    await stock(system.scm, mug=10)
    order_id = await completed_order(system.order, mug=2)
    await eventually(lambda: invoiced(system.order, order_id))
    return order_id


@pytest.fixture
def console(system: System) -> Served:
    return system.console


@pytest.fixture
def order(system: System) -> Served:
    return system.order


async def test_the_path_goes_from_the_command_to_what_the_last_answer_did(
    console: Served, answered: str
) -> None:
    """Hop by hop over both services, each caused by the one before it, named as the stations are."""
    found = await lineage(console, answered)
    way = path_to(found["hops"], "handled", "DeliveryInvoiceIssued")
    assert [(hop["station"], hop["name"], hop["type"]) for hop in way if hop["name"] != "handled"] == [
        ("order", "published", "OrderCompleted"),
        ("relay:order", "relayed", "OrderCompleted"),
        ("adapter", "decided", "OrderCompleted"),
        ("queue:scm-adapter-order-event-queue", "received", "OrderCompleted"),
        ("scm", "published", "DeliveryInvoiceIssued"),
        ("relay:scm", "relayed", "DeliveryInvoiceIssued"),
        ("adapter", "decided", "DeliveryInvoiceIssued"),
        (f"queue:{REPLIES}", "received", "DeliveryInvoiceIssued"),
    ]
    assert (way[2]["outcome"], way[2]["rule"]) == ("forwarded", "completed-orders-to-scm")
    assert way[2]["messageId"]
    assert (way[3]["receiveCount"], way[-1]["duplicates"]) == (1, 0)
    assert way[-1]["handler"].startswith("services.order.replies.")
    states = {each["service"]: each["status"] for each in found["states"]}
    assert states == {"order": "PREPARING", "scm": "INVOICED"}
    assert found["gaps"] == []


async def test_the_milliseconds_of_the_hops_add_up(console: Served, answered: str) -> None:
    """Since the start, since the hop before, and since the parent: by the times that are shown."""
    found = await lineage(console, answered)
    hops = found["hops"]
    at = {hop["id"]: datetime.fromisoformat(hop["at"]).timestamp() * 1000 for hop in hops}
    start = datetime.fromisoformat(found["startedAt"]).timestamp() * 1000
    for before, hop in zip([None, *hops], hops, strict=False):
        since = {
            "msSinceStart": start,
            "msSincePrevious": at[before["id"]] if before else None,
            "msSinceParent": at[hop["parent"]] if hop["parent"] else None,
        }
        for name, then in since.items():
            expected = None if then is None else max(0.0, at[hop["id"]] - then)
            assert hop[name] == (expected if expected is None else pytest.approx(expected, abs=0.11))
    assert found["totalMs"] == hops[-1]["msSinceStart"]
    assert [hop["msSinceStart"] for hop in hops] == sorted(hop["msSinceStart"] for hop in hops)


async def test_the_lineage_has_nothing_of_the_buyer_in_it(console: Served, answered: str) -> None:
    """It is public: no name, address or phone number."""
    text = json.dumps(await lineage(console, answered))
    for private in ("phoneNumber", "010-1234-5678", "Kim", "deliveryAddress", "unitPrice"):
        assert private not in text


async def test_what_is_held_back_ends_at_the_rule(console: Served, answered: str) -> None:
    """The order's placing leaves nothing behind the adapter."""
    found = await lineage(console, answered)
    placed = [hop for hop in found["hops"] if hop["type"] == "OrderPlaced"]
    assert [hop["name"] for hop in placed] == ["published", "relayed", "decided"]
    assert (placed[-1]["outcome"], placed[-1]["rule"]) == ("held_back", "placed-is-not-paid")


async def test_what_came_twice_and_what_came_late_is_shown_as_that(
    console: Served, answered: str, system: System
) -> None:
    """A duplicate is counted at the hop that handled the message; an older version is superseded."""
    hops = (await lineage(console, answered))["hops"]
    issued = path_to(hops, "published", "DeliveryInvoiceIssued")[-1]
    body = json.dumps({"source": {"id": answered, "version": 0, "status": "SHORT"}, "occurenceOn": 1})
    await send(system, answered, event_id=issued["eventId"], body=body)
    await send(system, answered, "StockShort", event_id="late", body=body)
    hops = (await lineage(console, answered))["hops"]
    assert path_to(hops, "handled", "DeliveryInvoiceIssued")[-1]["duplicates"] == 1
    assert path_to(hops, "handled", "StockShort")[-1]["outcome"] == "superseded"


async def test_a_queue_whose_handler_does_not_have_it_yet_is_shown_as_that(
    console: Served, order: Served, answered: str, system: System
) -> None:
    """It comes last, without a time; the other consumer of the event goes on. Then it is received."""

    async def outcomes() -> dict[str, str]:
        hops = (await lineage(console, order_id))["hops"]
        completed = [hop for hop in hops if hop["type"] == "OrderCompleted"]
        return {hop["station"]: hop["outcome"] for hop in completed if hop["name"] in ("received", "decided")}

    async def demand_has_it() -> bool:
        return (await outcomes()).get("queue:scm-demand-order-event-queue") == "received"

    async with locked(system.scm_database, "stock"):
        order_id = await completed_order(order, mug=1)
        await eventually(demand_has_it)
        last = (await lineage(console, order_id))["hops"][-1]
        assert (last["station"], last["outcome"], last["at"]) == (f"queue:{ORDERS}", "not_received", None)
    await eventually(lambda: invoiced(order, order_id))
    assert (await outcomes())[f"queue:{ORDERS}"] == "received"


async def test_a_dead_letter_of_the_order_is_shown_to_operators(
    console: Served, answered: str, system: System
) -> None:
    """With the reason, where the path of its event ends. Browsing is a receive, so only operators may."""
    hops = (await lineage(console, answered))["hops"]
    issued = path_to(hops, "decided", "DeliveryInvoiceIssued")[-1]
    await send(system, answered, "NoSuchEvent", event_id=issued["eventId"], body="{}")
    path = f"/api/orders/{answered}/lineage"
    assert "dead_letter" not in json.dumps(await get(console, path))
    shown = (await console.http.get(path, headers=OPERATOR)).json()
    [dead] = [hop for hop in shown["hops"] if hop["name"] == "dead_letter"]
    assert (dead["station"], dead["parent"]) == (f"queue:{REPLIES}-dlq", issued["id"])
    assert dead["error"].startswith("UnknownType: ")
    assert dead["receiveCount"] == 1


async def send(
    system: System, order_id: str, event_type: str = "DeliveryInvoiceIssued", *, event_id: str, body: str
) -> None:
    """A message about the order, straight into the Order service's queue, and wait until it is settled."""
    url = (await system.aws.sqs.get_queue_url(QueueName=REPLIES))["QueueUrl"]
    about = {"ce-id": event_id, "ce-type": event_type, "ce-subject": order_id, "ce-sequence": "0"}
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in about.items()}
    await system.aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    await eventually(lambda: all_absorbed(system.aws, [REPLIES]))


def lone_console(database: str, system: System, order_url: str) -> AbstractAsyncContextManager[Served]:
    """A console that reaches only the Order service, at this URL."""
    registered = system.order.registered_at(order_url), system.scm.registered_at(DOWN)
    return console_service(database, system.aws_url, *registered)


async def test_a_service_that_is_down_is_a_gap(system: System, answered: str, console_database: str) -> None:
    """The reason is shown, and the rest too."""
    async with lone_console(console_database, system, system.order.url) as console:
        found = await lineage(console, answered)
    [gap] = found["gaps"]
    assert gap["service"] == "scm"
    assert "ConnectError" in gap["reason"]
    assert [(each["service"], each["status"]) for each in found["states"]] == [("order", "PREPARING")]
    assert [hop["outcome"] for hop in found["hops"] if hop["type"] == "OrderCompleted"][-1] == "forwarded"
    assert path_to(found["hops"], "handled", "DeliveryInvoiceIssued")[-1]["outcome"] == "handled"


async def test_a_service_that_comes_to_no_end_is_a_gap_in_seconds(
    system: System, console_database: str
) -> None:
    """The client does not wait for it, although it goes on sending."""

    async def go_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"x: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)

    async with await asyncio.start_server(go_on, HOST) as endless:
        url = f"http://{HOST}:{endless.sockets[0].getsockname()[1]}"
        async with (
            lone_console(console_database, system, url) as console,
            asyncio.timeout(10),
        ):
            found = await lineage(console, "2" * 20)
    assert [gap["service"] for gap in found["gaps"]] == ["order", "scm"]
    assert "no answer within 2 s" in found["gaps"][0]["reason"]


async def test_an_event_that_has_not_left_is_shown_with_its_error(console: Served, order: Served) -> None:
    """When it was parked and after how many attempts; one that waits has no time yet, and comes last."""
    order_id = await place(order)
    await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})

    async def are_decided() -> bool:
        hops = (await lineage(console, order_id))["hops"]
        return [hop["name"] for hop in hops].count("decided") == 2

    await eventually(are_decided)
    await run(
        order.database,
        "UPDATE event_log SET decision = NULL, decided_at = NULL, relayed_at = NULL, attempts = 20, "
        "last_error = 'no', next_attempt_at = 'infinity', "
        "parked_at = CASE type WHEN 'OrderPlaced' THEN now() END WHERE subject = $1",
        order_id,
    )
    hops = (await lineage(console, order_id))["hops"]
    parked, waiting = (hop for hop in hops if hop["name"] == "relayed")
    assert (parked["outcome"], parked["attempts"], parked["error"]) == ("parked", 20, "no")
    assert parked["at"]
    assert (waiting["outcome"], waiting["error"], waiting["at"]) == ("waiting", "no", None)
    assert hops[-1] == waiting


async def test_an_order_is_unknown_only_when_all_services_say_so(
    console: Served, system: System, console_database: str
) -> None:
    """404 then; while one of them is down, that is not known."""
    path = f"/api/orders/{'3' * 20}/lineage"
    answer = await console.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    async with lone_console(console_database, system, system.order.url) as half:
        found = await get(half, path)
    assert (found["states"], found["hops"], found["startedAt"]) == ([], [], None)
    assert (await console.http.get("/api/orders/1/lineage")).status_code == 422
