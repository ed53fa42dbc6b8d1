"""A flood of messages that cannot be handled, on every queue, while orders are processed."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from snsqs import AwsClients, Binding, bindings
from snsqs.headers import CONTENT_TYPE, DEAD_LETTER_REASON, ID, SEQUENCE, SUBJECT, TYPE
from snsqs.queues import batched

from services.order.main import HANDLERS as ORDER_HANDLERS
from services.scm.main import HANDLERS as SCM_HANDLERS
from tests.adapter.test_adapter import receive
from tests.serving import Served, eventually
from tests.system.test_flow import all_absorbed, completed_order, get, invoiced, stock

FLOOD = 1_000
"""Bad messages on each queue."""

ORDERS = 20
"""Valid orders, placed and paid during the flood."""

NUMBER = "number"
"""Attribute with the number of a bad message."""


@dataclass
class Draft:
    """A valid message, until a `Change` makes it invalid."""

    source: dict[str, Any]
    about: dict[str, str]
    document: Any
    body: str = ""
    """Body sent instead of the document, if any."""


Change = Callable[[Draft], object]


def draft(topic: str, event_type: str, number: int) -> Draft:
    """Return a message that the handlers of all services accept; each reads its part."""
    order_id = f"{number:020}"
    source = {
        "id": order_id,
        "version": 1,
        "status": "COMPLETED" if topic == "order-events" else "RESERVED",
        "orderLines": [{"sku": "MUG-01", "quantity": 1}],
    }
    about = {NUMBER: str(number), ID: f"bad-{number}", TYPE: event_type, SUBJECT: order_id, SEQUENCE: "1"}
    return Draft(source, about, {"source": source, "occurenceOn": 1520393282506})


def body(text: str) -> Change:
    return lambda draft: setattr(draft, "body", text)


def document(value: Any) -> Change:
    return lambda draft: setattr(draft, "document", value)


def beside_source(**members: Any) -> Change:
    return lambda draft: draft.document.update(members)


def source(**members: Any) -> Change:
    return lambda draft: draft.source.update(members)


def attribute(name: str, value: str) -> Change:
    return lambda draft: draft.about.update({name: value})


def of_order(order_id: str) -> Change:
    """Set the order id, in the document and in the attributes."""
    return lambda draft: (draft.source.update(id=order_id), draft.about.update({SUBJECT: order_id}))


def of_version(version: Any) -> Change:
    return lambda draft: (draft.source.update(version=version), draft.about.update({SEQUENCE: str(version)}))


def without(name: str) -> Change:
    return lambda draft: (draft.source.pop(name, None), draft.about.pop(name, None))


def envelope(draft: Draft) -> None:
    draft.body = json.dumps({"Type": "Notification", "Message": json.dumps(draft.document)})
    del draft.about[TYPE]


NOT_JSON = "UndecodableMessage: the payload is not a [A-Z][A-Za-z]+: Invalid JSON"
NOT_SO = "UndecodableMessage: the payload is not a [A-Z][A-Za-z]+: "

EVERYWHERE: list[tuple[str, Change]] = [
    (NOT_JSON, body("{")),
    (NOT_JSON, body("good morning")),
    (NOT_JSON, body('{"source": {"id": "00000000000000000001", "ver')),
    (NOT_JSON, body("<event><source/></event>")),
    (NOT_JSON, body("\ufeff{}")),
    (NOT_JSON, body('{"source": {"id": "\\ud800"}}')),
    (NOT_JSON, body("[" * 20_000)),
    (NOT_JSON, body('{"source": ' * 10_000 + "1" + "}" * 10_000)),
    (NOT_JSON, body('{"source": {"id": "1", "version": ' + "9" * 10_000 + "}}")),
    (f"{NOT_SO}Input should be an object", document(None)),
    (f"{NOT_SO}Input should be an object", document([])),
    (f"{NOT_SO}Input should be an object", document("OrderCompleted")),
    (f"{NOT_SO}source: Field required", document({})),
    (f"{NOT_SO}source: ", beside_source(source=None)),
    (f"{NOT_SO}source: ", beside_source(source=[])),
    (f"{NOT_SO}source: ", beside_source(source="00000000000000000001")),
    (f"{NOT_SO}occurenceOn: ", beside_source(occurenceOn="yesterday")),
    (f"{NOT_SO}occurenceOn: ", beside_source(occurenceOn=-1)),
    (f"{NOT_SO}occurenceOn: ", beside_source(occurenceOn=10**30)),
    (f"{NOT_SO}source.id: ", source(id=None)),
    (f"{NOT_SO}source.id: ", source(id=1)),
    (f"{NOT_SO}source.version: ", source(version=None)),
    (f"{NOT_SO}source.version: ", source(version="one")),
    (f"{NOT_SO}source.version: ", source(version=1.5)),
    (f"{NOT_SO}source.version: ", source(version=-1)),
    (f"{NOT_SO}source.version: ", source(version=10**18)),
    ("UndecodableMessage: ce-sequence is not a version: -1", of_version(-1)),
    ("UndecodableMessage: ce-sequence is not a version: 1000000000000000000", of_version(10**18)),
    ("UndecodableMessage: ce-sequence is not a version: 1000000000000000000", of_version(10**100)),
    ("UndecodableMessage: ce-sequence is not a version: two", attribute(SEQUENCE, "two")),
    ("UndecodableMessage: the payload has version 1, ce-sequence 2", attribute(SEQUENCE, "2")),
    ("UndecodableMessage: the payload has version 2, ce-sequence 1", source(version=2)),
    ("UndecodableMessage: the payload is about 0+[0-9]*, ce-subject about 9+", attribute(SUBJECT, "9" * 20)),
    ("UndecodableMessage: the payload is about 9+, ce-subject about 0+[0-9]*", source(id="9" * 20)),
    ("UndecodableMessage: ce-subject must be at most 256 char", of_order("0000000000000000000\u0000")),
    ("UndecodableMessage: ce-subject must be at most 256 char", of_order("0" * 20_000)),
    ("UndecodableMessage: ce-id must be at most 256 char", attribute(ID, "x" * 10_000)),
    ("UndecodableMessage: content-type must be application/json", attribute(CONTENT_TYPE, "text/xml")),
    ("UndecodableMessage: the message has no ce-type attribute", without(TYPE)),
    ("UndecodableMessage: the message in the SNS envelope has no ce-type", envelope),
    ("UnknownType: no handler on .* takes 'OrderForgotten'", attribute(TYPE, "OrderForgotten")),
    ("UnknownType: no handler on .* takes 'builtins.eval'", attribute(TYPE, "builtins.eval")),
    ("UndecodableMessage|TerminalError", of_order("1")),
    ("UndecodableMessage|TerminalError", of_order("../../etc/passwd")),
]
"""Expected reasons of dead letters, each with the change that causes it."""

WHERE_READ: dict[str, list[tuple[str, Change]]] = {
    "status": [
        (f"{NOT_SO}source.status: ", source(status=None)),
        (f"{NOT_SO}source.status: ", source(status=["COMPLETED"])),
    ],
    "order_lines": [
        (f"{NOT_SO}source.orderLines: ", source(orderLines=[])),
        (f"{NOT_SO}source.orderLines: ", source(orderLines={})),
        (f"{NOT_SO}source.orderLines.0.quantity: ", source(orderLines=[{"sku": "MUG-01", "quantity": 0}])),
        (f"{NOT_SO}source.orderLines.0.quantity: ", source(orderLines=[{"sku": "MUG-01", "quantity": -1}])),
        (f"{NOT_SO}source.orderLines.0.quantity: ", source(orderLines=[{"sku": "M", "quantity": 10**12}])),
        (f"{NOT_SO}source.orderLines.0.sku: ", source(orderLines=[{"sku": "MUG\u0000", "quantity": 1}])),
        (f"{NOT_SO}source.orderLines.0.sku: ", source(orderLines=[{"sku": "M" * 20_000, "quantity": 1}])),
        (f"{NOT_SO}source.orderLines.0.sku: ", source(orderLines=[{"quantity": 1}])),
    ],
    "invoice_id": [
        (f"{NOT_SO}source.invoiceId: ", source(invoiceId=7)),
        (f"{NOT_SO}source.status: ", source(status="FORGOTTEN")),
        ("TerminalError: there is no order", source()),
    ],
}
"""Changes that affect only a handler that reads the field."""


def flood(binding: Binding) -> list[tuple[str, Draft]]:
    """Return bad messages of every kind for every type of the queue, each with the expected reason."""
    bad = []
    for number in range(FLOOD):
        event_type = binding.event_types[number % len(binding.event_types)]
        kinds = kinds_for(binding, event_type)
        reason, make_bad = kinds[number // len(binding.event_types) % len(kinds)]
        message = draft(binding.topic, event_type, number)
        make_bad(message)
        bad.append((reason, message))
    return bad


def kinds_for(binding: Binding, event_type: str) -> list[tuple[str, Change]]:
    source = binding.handlers[event_type].event_types[event_type].model_fields["source"].annotation
    assert source is not None
    return EVERYWHERE + [
        kind for field, kinds in WHERE_READ.items() if field in source.model_fields for kind in kinds
    ]


async def send(aws: AwsClients, queue: str, messages: list[Draft]) -> None:
    url = (await aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
    for batch in batched(messages):
        entries: Any = [
            {
                "Id": message.about[NUMBER],
                "MessageBody": message.body or json.dumps(message.document),
                "MessageAttributes": {
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in message.about.items()
                },
            }
            for message in batch
        ]
        answer = await aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert not answer.get("Failed"), answer["Failed"]


async def reasons(aws: AwsClients, binding: Binding) -> dict[int, str]:
    """Return the reasons of the present dead letters, by the numbers of the messages."""
    url = (await aws.sqs.get_queue_url(QueueName=binding.dead_letter_queue))["QueueUrl"]
    found: dict[int, str] = {}
    while letters := await receive(aws, url):
        for letter in letters:
            told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
            assert int(told[NUMBER]) not in found
            found[int(told[NUMBER])] = told[DEAD_LETTER_REASON]
    return found


async def test_a_thousand_bad_messages_on_each_queue_delay_no_order(
    order: Served, scm: Served, aws: AwsClients
) -> None:
    """Each is a dead letter once, with its reason; each order that is paid meanwhile gets its invoice."""
    await stock(scm, **{"MUG-01": ORDERS})
    floods = [(binding, flood(binding)) for binding in bindings([*ORDER_HANDLERS, *SCM_HANDLERS])]
    async with asyncio.TaskGroup() as group:
        for binding, bad in floods:
            group.create_task(send(aws, binding.queue, [message for _, message in bad]))
        paid = [await completed_order(order, **{"MUG-01": 1}) for _ in range(ORDERS)]

    for order_id in paid:
        prepared = await eventually(partial(invoiced, order, order_id), within=60)
        invoices = await get(scm, "/external-api/invoices", orderId=order_id)
        assert [invoice["id"] for invoice in invoices] == [prepared["invoiceId"]]
    for binding, bad in floods:
        await eventually(partial(all_absorbed, aws, [binding.queue]), within=60)
        found = await reasons(aws, binding)
        assert len(found) == FLOOD
        for number, (expected, message) in enumerate(bad):
            assert re.match(expected, found[number]), (found[number], str(message)[:1_000])
