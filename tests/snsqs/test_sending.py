"""Delivery options, validation and size limit of every MessageChannel, and fair queues, on both engines."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from snsqs import (
    AwsClients,
    ChannelMisconfigured,
    InterceptedChannel,
    InvalidMessage,
    ListenerContainer,
    Message,
    MessageChannel,
    MessageTooLarge,
    SnsChannel,
    SqsChannel,
    TerminalError,
    Topology,
    bindings,
    sqs_listener,
)
from snsqs.queues import Queue, Received, SqsQueue, message_attributes
from snsqs.testing import MemoryBroker, MemoryQueue
from snsqs.tracing import Tracing, current_traceparent, current_tracestate, propagate_trace

from tests.serving import eventually
from tests.snsqs.engines import AwsEngine, Engine, MemoryEngine, listening
from tests.snsqs.queues import TOPIC, Handler, Painted, listener, message


class Account(Protocol):
    """Channels of one engine, and the queue that they reach."""

    async def channel(self, name: str, **settings: Any) -> MessageChannel: ...

    async def queue(self, name: str) -> Queue: ...


@dataclass
class MemoryAccount:
    """The in-memory broker."""

    broker: MemoryBroker = field(default_factory=MemoryBroker)

    async def channel(self, name: str, **settings: Any) -> MessageChannel:
        if name.startswith("topic"):
            return self.broker.topic(name, **settings)
        return self.broker.queue_channel(name, **settings)

    async def queue(self, name: str) -> Queue:
        return self.broker.queue(name)


@dataclass
class AwsAccount:
    """A server with the protocols of SNS and SQS."""

    clients: AwsClients

    async def channel(self, name: str, **settings: Any) -> MessageChannel:
        if name.startswith("topic"):
            return SnsChannel(self.clients.sns, Topology(self.clients, create=True), name, **settings)
        await self.queue(name)
        return SqsChannel(self.clients.sqs, name, **settings)

    async def queue(self, name: str) -> Queue:
        attributes: Any = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        url = (await self.clients.sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"]
        return SqsQueue(self.clients.sqs, name, url)


@pytest.fixture(params=["memory", "aws"])
async def account(request: pytest.FixtureRequest, aws: AwsClients) -> MemoryAccount | AwsAccount:
    """Each engine."""
    return MemoryAccount() if request.param == "memory" else AwsAccount(aws)


@pytest.fixture(params=["memory", "aws"])
async def engine(request: pytest.FixtureRequest, aws: AwsClients) -> Engine:
    return MemoryEngine() if request.param == "memory" else AwsEngine(aws)


DESTINATIONS = ["topic", "topic.fifo", "queue", "queue.fifo"]


async def receive(queue: Queue, count: int, wait: int = 5) -> list[Received]:
    """Receive and delete up to so many messages."""
    received: list[Received] = []
    while len(received) < count and (
        found := await queue.receive(limit=count - len(received), wait=wait, visibility=30)
    ):
        await queue.delete([each.receipt_handle for each in found])
        received += found
    return received


async def test_a_delayed_message_is_received_later(account: Account) -> None:
    """Its neighbour without delay is received at once."""
    channel = await account.channel("queue")
    started = asyncio.get_running_loop().time()
    await channel.send([message(subject="late").copy(delay=2), message(subject="now")])
    queue = await account.queue("queue")
    received = await receive(queue, 2)
    assert [json.loads(each.body)["source"]["id"] for each in received] == ["now", "late"]
    assert asyncio.get_running_loop().time() - started > 1.5


@pytest.mark.parametrize("name", ["queue", "queue.fifo"])
async def test_a_message_is_sent_in_its_group(account: Account, name: str) -> None:
    """`group_id` precedes the subject on FIFO; on a standard queue there is no group without it."""
    channel = await account.channel(name)
    await channel.send([message(subject="1").copy(group_id="tenant/7"), message(subject="2")])
    groups = {each.group for each in await receive(await account.queue(name), 2)}
    assert groups == {"tenant/7", "2" if name == "queue.fifo" else None}


async def test_a_group_passes_a_standard_topic(account: MemoryAccount | AwsAccount) -> None:
    """To the queues that are subscribed to it; messages without a group have none."""

    @sqs_listener("queue", topic="topic")
    async def on_painted(event: Painted) -> None: ...

    [binding] = bindings([on_painted])
    if isinstance(account, AwsAccount):
        if "SNS_SQS_URL" not in os.environ:
            pytest.skip("ministack passes no group from a standard topic to its queues; LocalStack does")
        await Topology(account.clients, create=True).listener_queues(binding)
    else:
        account.broker.subscribe(binding)
    channel = await account.channel("topic")
    await channel.send([message(subject="1").copy(group_id="tenant/7"), message(subject="2")])
    received = await receive(await account.queue("queue"), 2)
    groups = {json.loads(each.body)["source"]["id"]: each.group for each in received}
    assert groups == {"1": "tenant/7", "2": None}


async def test_the_deduplication_id_precedes_the_message_id(account: Account) -> None:
    """Two messages with one deduplication id are one; two without have their own ids."""
    channel = await account.channel("queue.fifo")
    first, second = (message(subject=number).copy(deduplication_id="job-1") for number in "12")
    await channel.send([first, second, message(subject="3"), message(subject="4")])
    received = await receive(await account.queue("queue.fifo"), 4, wait=1)
    assert [json.loads(each.body)["source"]["id"] for each in received] == ["1", "3", "4"]


INVALID: list[tuple[list[str], dict[str, Any], str]] = [
    (DESTINATIONS, {"group_id": "g" * 129}, "group_id is 'ggg"),
    (DESTINATIONS, {"group_id": "a b"}, "group_id is 'a b'; set 1 to 128 ASCII letters"),
    (DESTINATIONS, {"group_id": ""}, "group_id is ''"),
    (["topic.fifo", "queue.fifo"], {"deduplication_id": "é"}, "deduplication_id (by default ce-id) is 'é'"),
    (["topic.fifo", "queue.fifo"], {"headers": {"ce-id": ""}}, "deduplication_id (by default ce-id) is ''"),
    (["topic.fifo", "queue.fifo"], {"headers": {"ce-subject": "a b"}}, "(by default ce-subject) is 'a b'"),
    (["topic", "queue"], {"deduplication_id": "1"}, "is not FIFO; do not set it"),
    (["topic", "topic.fifo"], {"delay": 1}, "is a topic; only standard queues delay"),
    (["queue.fifo"], {"delay": 1}, "is a FIFO queue; only standard queues delay"),
    (["queue"], {"delay": 901}, "delay is 901; set whole seconds from 0 to 900"),
    (["queue"], {"delay": -1}, "delay is -1"),
    (["queue"], {"delay": 1.5}, "delay is 1.5"),
    (DESTINATIONS, {"payload": ""}, "the payload is empty"),
    (DESTINATIONS, {"payload": "a\ud800"}, "the payload has U+D800 at position 1, which SQS rejects; remove"),
    (DESTINATIONS, {"payload": "a\x00"}, "the payload has U+0000 at position 1"),
    (DESTINATIONS, {"payload": "é\uffff"}, "the payload has U+FFFF at position 1"),
    (DESTINATIONS, {"payload": {}}, "the payload is of type dict; convert it to str"),
    (DESTINATIONS, {"headers": {"a": "\x1b"}}, "the header 'a' has U+001B at position 0"),
    (DESTINATIONS, {"headers": {"a": 1}}, "the header 'a' is of type int"),
    (DESTINATIONS, {"headers": {"": "x"}}, "the header name '' is invalid; use 1 to 256 letters"),
    (DESTINATIONS, {"headers": {"AWS.x": "x"}}, "the header name 'AWS.x'"),
    (DESTINATIONS, {"headers": {"a..b": "x"}}, "the header name 'a..b'"),
    (DESTINATIONS, {"headers": {"a b": "x"}}, "the header name 'a b'"),
]


@pytest.mark.parametrize("name", DESTINATIONS)
async def test_an_invalid_message_fails_alone(account: Account, name: str) -> None:
    """With a TerminalError that names option or header, value and remedy, before the call."""
    channel = await account.channel(name)
    cases = [(changes, expected) for names, changes, expected in INVALID if name in names]
    messages = [message(subject=str(number)).copy(**changes) for number, (changes, _) in enumerate(cases)]
    results = await channel.try_send([message(), *messages, message()])
    assert isinstance(results[0], str)
    assert isinstance(results[-1], str)
    for result, (changes, expected) in zip(results[1:-1], cases, strict=True):
        assert isinstance(result, InvalidMessage), changes
        assert isinstance(result, TerminalError)
        assert expected in str(result)


@pytest.mark.parametrize("name", DESTINATIONS)
async def test_unusual_content_is_sent_unchanged(account: Account, name: str) -> None:
    """All characters of XML 1.0, ids of 128 characters, and headers without a value, which do not count."""
    text = "\t\n\r\x7f\x85 é\ud7ff\ue000\ufffd😀\U0010ffff"
    headers = {f"header-{n}": "x" for n in range(6)} | {"empty": "", "text": text, "A.b-c_9": "x"}
    sent = Message(f'"{text}"', {"ce-id": "1", "ce-type": "Painted"} | headers, group_id="!" * 128)
    await (await account.channel(name)).send([sent])


async def test_characters_arrive_unchanged(account: Account) -> None:
    """As they were sent."""
    text = "\t\n\x7fé\ue000\ufffd😀"
    await (await account.channel("queue")).send([Message(text, {"text": text})])
    [received] = await receive(await account.queue("queue"), 1)
    assert (received.body, received.attributes) == (text, {"text": text})


@pytest.mark.parametrize("name", DESTINATIONS)
async def test_the_size_limit_is_a_setting(account: Account, name: str) -> None:
    """A megabyte is sent with a limit of a megabyte, and half a limit fails alone."""
    small = await account.channel(name, max_bytes=2_000)
    [first, large, last] = await small.try_send(
        [message(), Message("x" * 2_000, message().headers), message()]
    )
    assert isinstance(first, str)
    assert str(large).endswith("the limit is 2000")
    assert isinstance(large, MessageTooLarge)
    assert isinstance(last, str)
    big = await account.channel(name, max_bytes=1024 * 1024)
    [sent] = await big.try_send([Message("x" * 1_000_000, message().headers)])
    # The local servers still have the former limit of SNS.
    assert isinstance(sent, str) or "topic" in name


@pytest.mark.parametrize("name", ["topic", "queue"])
@pytest.mark.parametrize("max_bytes", [0, 1_023, 1024 * 1024 + 1, True, 2_000.5, "1"])
async def test_a_size_limit_that_nothing_has_is_an_error_at_construction(
    account: Account, name: str, max_bytes: Any
) -> None:
    """It names channel, parameter, value and remedy."""
    with pytest.raises(
        ChannelMisconfigured, match=f"channel to {name}: max_bytes is {max_bytes!r}; set a number"
    ):
        await account.channel(name, max_bytes=max_bytes)


ARN = "arn:aws:sqs:us-east-1:000000000000:"


async def test_a_queue_is_named_by_name_url_or_arn(account: Account) -> None:
    """All reach the same queue; FIFO is recognised in each."""
    queue = await account.queue("work.fifo")
    names = ["work.fifo", f"{ARN}work.fifo"]
    names.append(
        queue.url if isinstance(queue, SqsQueue) else "https://sqs.us-east-1.amazonaws.com/1/work.fifo"
    )
    for subject, name in enumerate(names):
        if isinstance(account, AwsAccount):
            channel: MessageChannel = SqsChannel(account.clients.sqs, name)
        else:
            channel = await account.channel(name)
        await channel.send([message(subject=str(subject))])
    assert [each.group for each in await receive(queue, 3)] == ["0", "1", "2"]


async def test_a_topic_in_memory_is_named_by_name_or_arn() -> None:
    """As an SnsChannel."""
    broker = MemoryBroker()
    assert broker.topic("arn:aws:sns:eu-west-1:1:topic") is broker.topic("topic")


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ("arn:aws:sns:us-east-1:1:work", "is not the ARN of a queue; it begins with arn:aws:sqs:"),
        (
            "arn:aws:sqs:eu-west-1:1:work",
            "is in eu-west-1, the client in us-east-1; use a client of eu-west-1",
        ),
        ("https://sqs.eu-west-1.amazonaws.com/1/work", "is in eu-west-1, the client in us-east-1"),
        ("no spaces", "'no spaces' is not the name, URL or ARN of a queue; a name has up to 80 letters"),
        ("x" * 81, "a name has up to 80 letters"),
        ("", "'' is not the name, URL or ARN"),
    ],
)
async def test_an_invalid_queue_is_an_error_at_construction(aws: AwsClients, queue: str, reason: str) -> None:
    """Not at the first message."""
    with pytest.raises(ChannelMisconfigured) as raised:
        SqsChannel(aws.sqs, queue)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("arn:aws:sqs:us-east-1:1:topic", "is not the ARN of a topic; it begins with arn:aws:sns:"),
        (
            "arn:aws:sns:eu-west-1:1:topic",
            "is in eu-west-1, the client in us-east-1; use a client of eu-west-1",
        ),
        ("topic:x", "is not the name or ARN of a topic"),
    ],
)
async def test_an_invalid_topic_is_an_error_at_construction(aws: AwsClients, topic: str, reason: str) -> None:
    """Not at the first message."""
    with pytest.raises(ChannelMisconfigured) as raised:
        SnsChannel(aws.sns, Topology(aws, create=True), topic)
    assert reason in str(raised.value)


async def test_a_missing_queue_is_named(aws: AwsClients) -> None:
    """As the reason of each message."""
    [result] = await SqsChannel(aws.sqs, "missing").try_send([message()])
    assert str(result) == "the queue missing does not exist in this account and region; create it first"


async def test_a_group_on_a_standard_queue_orders_nothing(engine: Engine) -> None:
    """Fair queues: messages of one group are handled at the same time, and one that fails blocks none."""
    running = 0
    together = asyncio.Event()

    @listener
    async def on_painted(event: Painted) -> None:
        nonlocal running
        running += 1
        if running == 2:
            together.set()
        await together.wait()

    async def first_is_running() -> bool:
        return running == 1

    async with listening(engine, on_painted) as bench:
        await bench.publish(message(subject="1").copy(group_id="tenant"))
        await eventually(first_is_running)
        await bench.publish(message(subject="2").copy(group_id="tenant"))
        async with asyncio.timeout(20):
            await together.wait()
        await eventually(bench.is_empty)


async def test_neighbours_of_an_invalid_message_in_a_group_are_handled(engine: Engine) -> None:
    """Also by a batch handler: the batch has messages of several groups, and one dead letter."""
    handled: list[str] = []
    sizes: list[int] = []

    @listener
    async def on_painted(events: list[Painted]) -> None:
        sizes.append(len(events))
        if any(event.source.id == "bad" for event in events):
            raise TerminalError("invalid")
        handled.extend(event.source.id for event in events)

    subjects = ["1", "2", "bad", "4", "5", "6"]
    async with listening(engine, on_painted) as bench:
        bench.listener.pause()
        await bench.publish(
            *(message(subject=each).copy(group_id=f"tenant-{n % 2}") for n, each in enumerate(subjects))
        )
        bench.listener.resume()
        await eventually(bench.is_empty)
        [letter] = await bench.dead_letters()
    assert letter.reason == "TerminalError: invalid"
    assert sorted(handled) == ["1", "2", "4", "5", "6"]
    assert max(sizes) > 3, "messages of different groups share a batch"


TRACEPARENT = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
TRACE_HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def span(*state: tuple[str, str]) -> NonRecordingSpan:
    """The span of TRACEPARENT."""
    _, trace_id, span_id, _ = TRACEPARENT.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(1), TraceState(list(state)))
    return NonRecordingSpan(context)


async def test_the_trace_travels_to_the_handler(engine: Engine) -> None:
    """`traceparent` and `tracestate` of the sender are the handler's current ones."""
    traces: list[tuple[str | None, str | None]] = []

    @listener
    async def on_painted(event: Painted) -> None:
        traces.append((current_traceparent(), current_tracestate()))

    async with listening(engine, on_painted, middleware=(Tracing(),)) as bench:
        channel = InterceptedChannel(bench.transport.topic(TOPIC), propagate_trace)
        with trace.use_span(span(("vendor", "a"), ("other", "b"))):
            await channel.send([message()])
        with trace.use_span(span()):
            await channel.send([message(), message(traceparent=TRACEPARENT[:-2] + "00", tracestate="own=c")])
        await channel.send([message()])
        await eventually(lambda: finished(traces, 4))
    assert sorted(traces, key=str) == [
        (TRACEPARENT[:-2] + "00", "own=c"),
        (TRACEPARENT, "vendor=a,other=b"),
        (TRACEPARENT, None),
        (None, None),
    ]


async def finished(items: list[Any], count: int) -> bool:
    return len(items) >= count


async def test_a_trace_beyond_ten_headers_is_an_error_of_its_message(account: Account) -> None:
    """Its neighbours are sent; one that has room for a traceparent only is sent without the tracestate."""
    channel = InterceptedChannel(await account.channel("queue"), propagate_trace)
    nine, ten = (
        message().copy(headers={f"header-{number}": "x" for number in range(count)}) for count in (5, 6)
    )
    with trace.use_span(span(("vendor", "a"))):
        results = await channel.try_send([message(), ten, nine])
    assert [type(each) for each in results] == [str, MessageTooLarge, str]
    assert str(results[1]) == "the message has 11 headers, the limit is 10"
    received = await receive(await account.queue("queue"), 2)
    assert sorted((len(each.attributes), each.attributes.get("tracestate")) for each in received) == [
        (6, "vendor=a"),
        (10, None),
    ]


async def test_the_trace_header_of_aws_is_sent_on_request(aws: AwsClients) -> None:
    """As a system attribute beside `traceparent`; not for a malformed one. (The local server drops it.)"""
    await AwsAccount(aws).queue("queue")
    calls: list[dict[str, Any]] = []

    def record(params: dict[str, Any], **_: Any) -> None:
        calls.append(json.loads(params["body"]))

    aws.sqs.meta.events.register("before-call.sqs.SendMessageBatch", record)
    messages = [message(traceparent=TRACEPARENT), message(), message(traceparent="malformed")]
    for on_request in (True, False):
        await SqsChannel(aws.sqs, "queue", aws_trace_header=on_request).send(messages)
    aws.sqs.meta.events.unregister("before-call.sqs.SendMessageBatch", record)
    requested, other = (call["Entries"] for call in calls)
    assert [each.get("MessageSystemAttributes") for each in requested] == [
        {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE_HEADER}},
        None,
        None,
    ]
    assert not any("MessageSystemAttributes" in each for each in other)


async def test_the_trace_header_of_aws_continues_the_trace(account: Account) -> None:
    """Used when there is no `traceparent`; on SQS and in memory."""
    traces: list[str | None] = []

    @sqs_listener("queue", topic="topic")
    async def on_painted(event: Painted) -> None:
        traces.append(current_traceparent())

    async with listening_to(account, on_painted):
        await send_with_trace_header(account, message())
        await eventually(lambda: finished(traces, 1))
    assert traces == [TRACEPARENT]


@asynccontextmanager
async def listening_to(account: Account, *handlers: Handler) -> AsyncIterator[None]:
    if isinstance(account, MemoryAccount):
        async with account.broker:
            account.broker.listen(*handlers, middleware=[Tracing()])
            yield
    elif isinstance(account, AwsAccount):
        [binding] = bindings(handlers)
        topology = Topology(account.clients, create=True)
        container = ListenerContainer(topology, binding, middleware=[Tracing()])
        await container.prepare()
        running = asyncio.create_task(container.run())
        yield
        container.stop()
        await running


async def send_with_trace_header(account: Account, sent: Message[str]) -> None:
    """As another producer, which sends no `traceparent`."""
    queue = await account.queue("queue")
    if isinstance(account, AwsAccount):
        assert isinstance(queue, SqsQueue)
        attributes: Any = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE_HEADER}}
        await account.clients.sqs.send_message(
            QueueUrl=queue.url,
            MessageBody=sent.payload,
            MessageAttributes=message_attributes(sent),
            MessageSystemAttributes=attributes,
        )
    else:
        assert isinstance(queue, MemoryQueue)
        queue.put("1", sent.payload, message_attributes(sent), None, "", trace_header=TRACE_HEADER)


async def test_the_channel_in_memory_sends_the_trace_header_on_request() -> None:
    """As SQS does."""
    broker = MemoryBroker()
    for on_request in (True, False):
        channel = broker.queue_channel("queue", aws_trace_header=on_request)
        await channel.send([message(traceparent=TRACEPARENT)])
    received = await broker.queue("queue").receive(limit=2, wait=0, visibility=30)
    assert [each.trace_header for each in received] == [TRACE_HEADER, None]


@pytest.mark.parametrize(
    "header",
    ["", "Root=1-5759e988-bd862e3fe1be46a994272793", "Root=2-x;Parent=53995c3f42cd8ad8", "Parent", ";;="],
)
async def test_a_malformed_trace_header_begins_a_new_trace(header: str) -> None:
    """The message is handled without an error."""
    handled: list[str | None] = []

    @sqs_listener("queue", topic="topic")
    async def on_painted(event: Painted) -> None:
        handled.append(current_traceparent())

    async with MemoryBroker() as broker:
        broker.listen(on_painted, middleware=[Tracing()])
        sent = message()
        broker.queue("queue").put("1", sent.payload, message_attributes(sent), None, "", trace_header=header)
        await broker.join()
    assert handled == [None]
