"""Lambda: recorded events, and the failures that the function reports."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from snsqs import (
    Aggregate,
    Delivery,
    DomainEvent,
    ListenerMisconfigured,
    MessageHandler,
    Middleware,
    TerminalError,
    sqs_listener,
)
from snsqs.aws_lambda import LambdaHandler, lambda_handler
from snsqs.events import ApplicationEventPublisher
from snsqs.inbox import Inbox
from snsqs.postgres import Transaction, connect
from snsqs.queues import ListenerQueues
from snsqs.testing import MemoryBroker

ARN = "arn:aws:sqs:eu-central-1:123456789012:billing-order-event-queue"

RAW: dict[str, Any] = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": '{"source":{"id":"20210717235959000000","version":2},"occurenceOn":1520393282506}',
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    },
    "messageAttributes": {
        "ce-id": {
            "stringValue": "5a5bd1d9-2f51-4a0c-a9a6-2c6b5b3e9a11",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
        },
        "ce-type": {
            "stringValue": "OrderCompleted",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
        },
        "checksum": {
            "binaryValue": "3q2+7w==",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Binary",
        },
    },
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "md5OfMessageAttributes": "00484c68a05b8f8e1f5c7d1d1b7c6e0e",
    "eventSource": "aws:sqs",
    "eventSourceARN": ARN,
    "awsRegion": "eu-central-1",
}
"""A record of an SNS-to-SQS subscription with raw delivery."""

ENVELOPED = {
    **RAW,
    "messageId": "2e1424d4-f796-459a-8184-9c92662be6da",
    "receiptHandle": "AQEBzWwaftRI0KuVm4tP+/7q1rGgNqicHq...",
    "body": json.dumps(
        {
            "Type": "Notification",
            "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:order-events",
            "Message": RAW["body"],
            "Timestamp": "2021-07-17T23:59:59.000Z",
            "SignatureVersion": "1",
            "Signature": "FMG5tlZhJNHLHUXvZgtZzlk24FzVa7oX0T4P03neeXw8ZEXZx6z35j2FOTuNYShn",
            "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0000.pem",
            "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
            "MessageAttributes": {
                "ce-id": {"Type": "String", "Value": "9b1e8b0e-5f0f-4ff4-a9b5-0e2a4b8b7f10"},
                "ce-type": {"Type": "String", "Value": "OrderCompleted"},
            },
        }
    ),
    "messageAttributes": {},
}
"""A record of a subscription without raw delivery."""


class OrderCompleted(DomainEvent):
    source: Aggregate


class Handled(list[str]):
    """Subjects of handled events; an order that starts with `bad` fails, one with `never` terminally."""

    def handler(self, queue: str = "billing-order-event-queue") -> Any:
        @sqs_listener(queue, topic="order-events.fifo" if queue.endswith(".fifo") else "order-events")
        async def on_order_completed(event: OrderCompleted) -> None:
            self.append(event.source.id)
            if event.source.id.startswith("bad"):
                raise RuntimeError("bad")
            if event.source.id.startswith("never"):
                raise TerminalError("never")

        return on_order_completed


def record(order_id: str, *, queue: str = ARN, group: str | None = None, count: int = 1) -> dict[str, Any]:
    new: dict[str, Any] = copy.deepcopy(RAW)
    new |= {"messageId": order_id, "receiptHandle": f"handle of {order_id}", "eventSourceARN": queue}
    new["body"] = json.dumps({"source": {"id": order_id, "version": 1}, "occurenceOn": 1})
    new["messageAttributes"]["ce-id"]["stringValue"] = f"id of {order_id}"
    new["attributes"]["ApproximateReceiveCount"] = str(count)
    if group is not None:
        new["attributes"]["MessageGroupId"] = group
    return new


def failures(handler: LambdaHandler, *records: dict[str, Any], context: Any = None) -> list[str]:
    with handler:
        result = handler({"Records": list(records)}, context)
    assert list(result) == ["batchItemFailures"]
    return [each["itemIdentifier"] for each in result["batchItemFailures"]]


def test_recorded_events_are_handled() -> None:
    """Raw and in SNS's envelope; the function is invoked more than once."""
    handled = Handled()
    with lambda_handler([handled.handler()]) as handler:
        for _ in range(2):
            assert handler({"Records": [RAW, ENVELOPED]}, None) == {"batchItemFailures": []}
    assert handled == ["20210717235959000000"] * 4


def test_only_messages_that_failed_are_reported() -> None:
    """Those that cannot succeed and those that cannot be read as well: the redrive policy counts them."""
    unreadable = record("unreadable") | {"body": "{"}
    handled = Handled()
    handler = LambdaHandler([handled.handler()])
    records = [record("1"), record("bad"), unreadable, record("never", count=9), record("2")]
    assert failures(handler, *records) == ["bad", "unreadable", "never"]
    assert sorted(handled) == ["1", "2", "bad", "never"]


def test_a_fifo_group_stops_at_its_first_failure() -> None:
    """Other groups are not held up."""
    queue = f"{ARN}.fifo"
    handled = Handled()
    records = [
        record("a1", queue=queue, group="a"),
        record("bad-a2", queue=queue, group="a"),
        record("b1", queue=queue, group="b"),
        record("a3", queue=queue, group="a"),
        record("b2", queue=queue, group="b"),
    ]
    handler = LambdaHandler([handled.handler("billing-order-event-queue.fifo")])
    assert failures(handler, *records) == ["bad-a2", "a3"]
    assert sorted(handled) == ["a1", "b1", "b2", "bad-a2"]


def test_a_batch_handler_fails_message_by_message() -> None:
    """As in a listener."""
    batches = []

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_orders(events: list[OrderCompleted]) -> None:
        batches.append([event.source.id for event in events])
        if "bad" in batches[-1]:
            raise RuntimeError("bad")

    assert failures(LambdaHandler([on_orders]), record("1"), record("bad"), record("2")) == ["bad"]
    assert batches == [["1", "bad", "2"], ["1"], ["bad"], ["2"]]


def test_dead_letters_are_sent_with_their_reason_where_configured() -> None:
    """They are not reported then; a failure at the last receive is one as well."""
    broker = MemoryBroker()

    class Source:
        settings = broker.settings

        async def listener_queues(self, binding: Any) -> ListenerQueues:
            return ListenerQueues(*broker.subscribe(binding))

    @asynccontextmanager
    async def source() -> AsyncIterator[Any]:
        yield Source()

    handler = LambdaHandler([Handled().handler()], dead_letters=source)
    assert failures(handler, record("never"), record("bad"), record("bad-5", count=5)) == ["bad"]
    reasons = {each.message.id: each.reason for each in broker.dead_letters()}
    assert reasons == {"id of never": "TerminalError: never", "id of bad-5": "RuntimeError: bad"}


def test_handlers_are_cancelled_before_the_timeout_of_the_function() -> None:
    """So that the messages that are done are reported as such."""

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 1_300

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def slow(event: OrderCompleted) -> None:
        if event.source.id == "slow":
            await asyncio.sleep(60)

    assert failures(LambdaHandler([slow]), record("1"), record("slow"), context=Context()) == ["slow"]


def test_wrong_declarations_are_errors_at_start() -> None:
    """And a queue without handlers is one at the first event."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def with_transaction(event: OrderCompleted, tx: Transaction) -> None: ...

    with pytest.raises(ListenerMisconfigured, match="depends on Transaction"):
        LambdaHandler([with_transaction])
    with pytest.raises(
        ListenerMisconfigured, match="other-queue: no handler; handlers listen on billing-order"
    ):
        failures(LambdaHandler([Handled().handler()]), record("1", queue=f"{ARN[:-25]}other-queue"))


def test_middleware_is_opened_once() -> None:
    """At the first invocation, on the function's event loop."""
    opened = []

    class Seen:
        provides = ()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            opened.append(delivery.queue)
            await proceed(delivery)

    @asynccontextmanager
    async def middleware() -> AsyncIterator[Sequence[Middleware]]:
        opened.append("open")
        yield [Seen()]
        opened.append("close")

    with LambdaHandler([Handled().handler()], middleware=middleware) as handler:
        for _ in range(2):
            assert handler({"Records": [record("1")]}, None) == {"batchItemFailures": []}
    assert opened == ["open", "billing-order-event-queue", "billing-order-event-queue", "close"]


def test_the_inbox_absorbs_duplicates(scm_database: str) -> None:
    """A pool that is opened by the function."""
    effects = []

    @asynccontextmanager
    async def middleware() -> AsyncIterator[Sequence[Middleware]]:
        async with connect(scm_database, ApplicationEventPublisher()) as database:
            yield [Inbox(database)]

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def with_transaction(event: OrderCompleted, tx: Transaction) -> None:
        effects.append(event.source.id)

    with LambdaHandler([with_transaction], middleware=middleware) as handler:
        for _ in range(2):
            assert handler({"Records": [record("1")]}, None) == {"batchItemFailures": []}
    assert effects == ["1"]
