"""Lambda: recorded events, and the failures that the function reports."""

import asyncio
import copy
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from snsqs import (
    Acknowledgement,
    Aggregate,
    BatchFailures,
    Delivery,
    DomainEvent,
    ListenerMisconfigured,
    ListenerOptions,
    MessageHandler,
    MessageOutcome,
    Middleware,
    QueueSettings,
    RetryAfter,
    SqsChannel,
    TerminalError,
    Topology,
    aws_clients,
    bindings,
    message_of,
    sqs_listener,
)
from snsqs.aws_lambda import LambdaHandler, lambda_handler
from snsqs.events import ApplicationEventPublisher
from snsqs.inbox import Inbox
from snsqs.postgres import Transaction, connect
from snsqs.queues import ListenerQueues, Received
from snsqs.testing import MemoryBroker, VirtualClockLoop

from tests.conftest import REGION

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


class Context:
    """Context of an invocation that may take some more milliseconds, one second of which is a margin."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


def record(
    order_id: str, *, queue: str = ARN, group: str | None = None, count: int = 1, version: int = 1
) -> dict[str, Any]:
    new: dict[str, Any] = copy.deepcopy(RAW)
    new |= {"messageId": order_id, "receiptHandle": f"handle of {order_id}", "eventSourceARN": queue}
    new["body"] = json.dumps({"source": {"id": order_id, "version": version}, "occurenceOn": 1})
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


def test_bindings_have_the_names_of_an_environment() -> None:
    """The queue of a record is the renamed one."""
    handled = Handled()
    bound = bindings([handled.handler()], rename=lambda name: f"staging-{name}")
    queue = ARN.replace("billing-", "staging-billing-")
    assert failures(LambdaHandler(bound), record("1", queue=queue)) == []
    assert handled == ["1"]


def test_only_messages_that_failed_are_reported() -> None:
    """Those that cannot succeed and those that cannot be read as well: the redrive policy counts them."""
    unreadable = record("unreadable") | {"body": "{"}
    handled = Handled()
    handler = LambdaHandler([handled.handler()])
    records = [record("1"), record("bad"), unreadable, record("never", count=9), record("2")]
    assert failures(handler, *records) == ["bad", "unreadable", "never"]
    assert sorted(handled) == ["1", "2", "bad", "never"]


@pytest.mark.parametrize("failing", ["bad", "never"])
def test_a_fifo_group_stops_at_its_first_failure(failing: str) -> None:
    """Also at one that cannot succeed: Lambda delivers it again. Other groups are not held up."""
    queue = f"{ARN}.fifo"
    handled = Handled()
    records = [
        record("a1", queue=queue, group="a"),
        record(f"{failing}-a2", queue=queue, group="a"),
        record("b1", queue=queue, group="b"),
        record("a3", queue=queue, group="a"),
        record("b2", queue=queue, group="b"),
    ]
    handler = LambdaHandler([handled.handler("billing-order-event-queue.fifo")])
    assert failures(handler, *records) == [f"{failing}-a2", "a3"]
    assert sorted(handled) == ["a1", "b1", "b2", f"{failing}-a2"]


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

    handler = LambdaHandler([Handled().handler()], topology=source)
    assert failures(handler, record("never"), record("bad"), record("bad-5", count=5)) == ["bad"]
    reasons = {each.message.id: each.reason for each in broker.dead_letters()}
    assert reasons == {"id of never": "TerminalError: never", "id of bad-5": "RuntimeError: bad"}


def test_handlers_are_cancelled_before_the_timeout_of_the_function() -> None:
    """So that the messages that are done are reported as such."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def slow(event: OrderCompleted) -> None:
        if event.source.id == "slow":
            await asyncio.sleep(60)

    assert failures(LambdaHandler([slow]), record("1"), record("slow"), context=Context(1_300)) == ["slow"]


def test_def_handlers_run_in_threads() -> None:
    """As many at the same time as `max_concurrency`; their errors are reported."""
    barrier = threading.Barrier(3, timeout=20)

    @sqs_listener("billing-order-event-queue", topic="order-events")
    def print_bill(event: OrderCompleted) -> None:
        barrier.wait()
        if event.source.id == "bad":
            raise RuntimeError("bad")

    handler = LambdaHandler([print_bill], options=ListenerOptions(max_concurrency=3, max_unavailable=0))
    assert failures(handler, record("1"), record("bad"), record("2")) == ["bad"]


def test_a_def_handler_that_is_overdue_does_not_outlast_the_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its message is reported, before Lambda would end the process and lose what is done."""
    released = threading.Event()

    @sqs_listener("billing-order-event-queue", topic="order-events")
    def hang(event: OrderCompleted) -> None:
        if event.source.id == "hangs":
            released.wait(60)

    began = time.monotonic()
    try:
        assert failures(LambdaHandler([hang]), record("1"), record("hangs"), context=Context(1_300)) == [
            "hangs"
        ]
        assert time.monotonic() - began < 20
    finally:
        released.set()
    assert "handler thread abandoned" in caplog.text


def test_a_batch_handler_reports_its_failures() -> None:
    """The other messages of the batch are done."""
    batches: list[int] = []

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_orders(events: list[OrderCompleted], batch_failures: BatchFailures) -> None:
        batches.append(len(events))
        for event in events:
            if event.source.id == "bad":
                batch_failures.add(event, RuntimeError("bad"))

    assert failures(LambdaHandler([on_orders]), record("1"), record("bad"), record("2")) == ["bad"]
    assert batches == [3]


def test_manual_acknowledgement_decides_what_is_reported() -> None:
    """A handler that returned has not acknowledged."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def every_other(event: OrderCompleted, acknowledgement: Acknowledgement) -> None:
        if event.source.id != "not yet":
            await acknowledgement.acknowledge()

    handler = LambdaHandler([every_other], options=ListenerOptions(manual_ack=True))
    assert failures(handler, record("1"), record("not yet")) == ["not yet"]


def test_without_a_topology_the_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Of a message that cannot succeed: the redrive policy passes none on."""
    with caplog.at_level(logging.ERROR):
        assert failures(LambdaHandler([Handled().handler()]), record("never")) == ["never"]
    [reason] = [vars(each)["reason"] for each in caplog.records if "cannot succeed" in each.getMessage()]
    assert reason == "TerminalError: never"


def test_a_topology_sets_the_next_receive_and_sends_dead_letters(aws_url: str) -> None:
    """With SQS: RetryAfter and backoff change the visibility of messages that Lambda has received."""

    @sqs_listener("billing-order-event-queue", settings=QueueSettings(visibility=3600))
    async def postponing(event: OrderCompleted) -> None:
        match event.source.id:
            case "now":
                raise RetryAfter(0)
            case "never":
                raise TerminalError("never")
            case "backoff":
                raise RuntimeError("backoff")

    @asynccontextmanager
    async def topology(*, create: bool = False) -> AsyncIterator[Topology]:
        async with aws_clients(region=REGION, endpoint_url=aws_url) as clients:
            yield Topology(clients, create=create)

    [binding] = bindings([postponing])

    async def receive_all() -> list[Received]:
        async with aws_clients(region=REGION, endpoint_url=aws_url) as clients:
            queues = await Topology(clients, create=True).listener_queues(binding)
            url = await Topology(clients, create=False).queue_url(binding.queue)
            events = [
                OrderCompleted(source=Aggregate(id=each, version=1)) for each in ("now", "never", "backoff")
            ]
            await SqsChannel(clients.sqs, binding.queue, url).send([message_of(each) for each in events])
            return await queues.queue.receive(limit=10, wait=5, visibility=3600)

    async def visible() -> tuple[list[str], list[str]]:
        async with topology() as opened:
            queues = await opened.listener_queues(binding)
            again = await queues.queue.receive(limit=10, wait=1, visibility=30)
            dead = await queues.dead_letters.receive(limit=10, wait=1, visibility=30)
            reasons = [each.attributes["dead-letter-reason"] for each in dead]
            return sorted(each.attributes["ce-subject"] for each in again), reasons

    received = asyncio.run(receive_all())
    assert len(received) == 3
    records = [
        record(each.attributes["ce-subject"]) | {"receiptHandle": each.receipt_handle} for each in received
    ]
    options = ListenerOptions(backoff=lambda _: 0, max_unavailable=0)
    handler = LambdaHandler([postponing], topology=topology, options=options)
    assert sorted(failures(handler, *records)) == ["backoff", "now"]
    assert asyncio.run(visible()) == (["backoff", "now"], ["TerminalError: never"])


def test_what_could_not_be_opened_is_opened_at_the_next_invocation() -> None:
    """And what had been opened before it is closed."""
    opened: list[str] = []

    class Source:
        settings = QueueSettings()

        async def listener_queues(self, binding: Any) -> ListenerQueues:
            return ListenerQueues(*MemoryBroker().subscribe(binding))

    @asynccontextmanager
    async def middleware() -> AsyncIterator[Sequence[Middleware]]:
        opened.append("open")
        try:
            yield []
        finally:
            opened.append("close")

    @asynccontextmanager
    async def topology() -> AsyncIterator[Any]:
        if opened == ["open"]:
            raise ConnectionError("SQS")
        yield Source()

    with LambdaHandler([Handled().handler()], middleware=middleware, topology=topology) as handler:
        with pytest.raises(ConnectionError):
            handler({"Records": [record("1")]}, None)
        for _ in range(2):
            assert handler({"Records": [record("1")]}, None) == {"batchItemFailures": []}
    assert opened == ["open", "close", "open", "close"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"poll_timeout": 5}, "poll_timeout is 5 without an effect, because Lambda receives the messages"),
        ({"max_pollers": 1}, "max_pollers is 1 without an effect, because Lambda receives the messages"),
        ({"max_poll_backoff": 5}, "max_poll_backoff is 5 without an effect, because Lambda receives the"),
        ({"shutdown_timeout": 5}, "shutdown_timeout is 5 without an effect, because an invocation ends with"),
        (
            {"max_backoff": 60},
            "max_backoff is 60 without an effect, because nothing sets the time of the next",
        ),
    ],
)
def test_an_option_without_an_effect_is_an_error_at_start(options: dict[str, Any], text: str) -> None:
    """No setting is silently ignored."""
    chosen = ListenerOptions(**options)
    for handlers, given in (
        ([Handled().handler()], chosen),
        (bindings([Handled().handler()], options={"billing-order-event-queue": chosen}), None),
    ):
        with pytest.raises(ListenerMisconfigured) as raised:
            LambdaHandler(handlers, options=given)
        assert str(raised.value).startswith(f"LambdaHandler: {text}")


def test_queue_settings_need_a_topology() -> None:
    """Which compares them with the queue."""

    @sqs_listener("billing-order-event-queue", settings=QueueSettings(visibility=600))
    async def with_settings(event: OrderCompleted) -> None: ...

    with pytest.raises(
        ListenerMisconfigured, match="the settings of billing-order-event-queue have no effect"
    ):
        LambdaHandler([with_settings])


def test_wrong_declarations_are_errors_at_start() -> None:
    """And a queue without handlers is one at the first event."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def with_transaction(event: OrderCompleted, tx: Transaction) -> None: ...

    with pytest.raises(ListenerMisconfigured, match="takes tx of type Transaction, which no"):
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


def test_the_inbox_makes_an_effect_happen_once(scm_database: str) -> None:
    """Duplicates and older versions have none, and what failed is rolled back. The pool is opened by the
    function."""
    outcomes: list[MessageOutcome] = []

    @asynccontextmanager
    async def middleware() -> AsyncIterator[Sequence[Middleware]]:
        async with connect(scm_database, ApplicationEventPublisher()) as database:
            yield [Inbox(database)]

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def store(event: OrderCompleted, tx: Transaction) -> None:
        await tx.connection.execute("CREATE TABLE IF NOT EXISTS bill (id text, version bigint)")
        bill = event.source.id, event.source.version
        await tx.connection.execute("INSERT INTO bill VALUES ($1, $2)", *bill)
        if event.source.id == "bad":
            raise RuntimeError("bad")

    async def bills() -> list[tuple[str, int]]:
        async with (
            connect(scm_database, ApplicationEventPublisher()) as database,
            database.transaction() as tx,
        ):
            return [(row["id"], row["version"]) for row in await tx.connection.fetch("SELECT * FROM bill")]

    older = record("1", version=1) | {"messageId": "older", "receiptHandle": "handle of older"}
    older["messageAttributes"]["ce-id"]["stringValue"] = "id of older"
    with LambdaHandler([store], middleware=middleware, observer=outcomes.append) as handler:
        for records, failed in (
            ([record("1", version=2)], []),
            ([record("1", version=2)], []),
            ([older], []),
            ([record("bad")], [{"itemIdentifier": "bad"}]),
        ):
            assert handler({"Records": records}, None) == {"batchItemFailures": failed}
    assert [each.outcome for each in outcomes] == ["handled", "duplicate", "superseded", "failed"]
    assert asyncio.run(bills()) == [("1", 2)]


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException."""


class Unprintable(Exception):
    """An error that cannot be formatted."""

    def __str__(self) -> str:
        raise KeyError("detail")


@pytest.mark.parametrize(
    "error",
    [PanicException("index"), SystemExit(0), KeyboardInterrupt(), asyncio.CancelledError(), Unprintable()],
    ids=lambda error: type(error).__name__,
)
def test_a_message_is_reported_whatever_its_handler_raises(error: BaseException) -> None:
    """The others of the invocation are handled, and the function returns."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_order_completed(event: OrderCompleted) -> None:
        if event.source.id == "bad":
            raise error

    assert failures(LambdaHandler([on_order_completed]), record("bad"), record("good")) == ["bad"]


class VirtualClocks(asyncio.DefaultEventLoopPolicy):
    """Policy by which every new event loop has a virtual clock."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualClockLoop()


@pytest.fixture
def virtual_clocks() -> Iterator[None]:
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(VirtualClocks())
    yield
    asyncio.set_event_loop_policy(policy)


@pytest.mark.usefixtures("virtual_clocks")
def test_messages_of_an_invocation_wait_for_slow_handlers() -> None:
    """They are not returned, as a listener does: Lambda gives them to no other function meanwhile."""

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_order_completed(event: OrderCompleted) -> None:
        await asyncio.sleep(20)

    options = ListenerOptions(max_concurrency=1)
    records = [record(number) for number in "12345"]
    assert failures(LambdaHandler([on_order_completed], options=options), *records) == []
