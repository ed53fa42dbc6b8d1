"""Converters: forms of messages on the wire, on every engine."""

import base64
import gzip
import json
import re
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from snsqs import (
    AwsClients,
    InvalidEvent,
    JsonConverter,
    ListenerMisconfigured,
    Message,
    MessageChannel,
    MessageConverter,
    SnsChannel,
    Topology,
    UndecodableMessage,
    bindings,
    event,
    message_of,
    sqs_listener,
)
from snsqs.converters import (
    CLOUD_EVENT,
    CloudEventsConverter,
    ConvertingChannel,
    EventBridgeConverter,
    S3Converter,
    S3ObjectCreated,
    SnsEnvelopeConverter,
)
from snsqs.headers import CONTENT_TYPE, TYPE
from snsqs.testing import MemoryBroker

from tests.serving import eventually
from tests.snsqs.engines import AwsEngine, Bench, Engine, listening
from tests.snsqs.queues import QUEUE, TOPIC, Handler

E = TypeVar("E")


@event("OrderCompleted", id="order_id", version="version")
class Completed(BaseModel):
    order_id: str
    version: int


class ReversedConverter(MessageConverter):
    """A binary form: the reversed JSON, in Base64."""

    content_type = "application/x-reversed"

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        return JsonConverter().from_message(
            Message(base64.b64decode(message.payload)[::-1].decode()), event_type
        )

    def to_payload(self, event: object, event_type: Any) -> str:
        return base64.b64encode(JsonConverter().to_payload(event, event_type).encode()[::-1]).decode()


CLOUD = {
    "specversion": "1.0",
    "id": "e1",
    "source": "order",
    "type": "OrderCompleted",
    "subject": "1",
    "sequence": "3",
    "traceparent": "00-1-2-01",
    "tenant": "acme",
    "data": {"order_id": "1", "version": 3},
}
BRIDGE = {
    "version": "0",
    "id": "e1",
    "detail-type": "OrderCompleted",
    "source": "order",
    "time": "2021-07-17T23:59:59Z",
    "resources": [],
    "detail": {"order_id": "1", "version": 3},
}
S3 = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "eventTime": "2021-07-17T23:59:59.000Z",
            "s3": {"bucket": {"name": "bills"}, "object": {"key": "2021/bill+no.+7%2B.pdf", "size": 5}},
        }
    ]
}


def recording(converter: MessageConverter | None, kind: type = Completed) -> tuple[Handler, list[Any]]:
    """Return a handler, and the list of events and messages that it records."""
    seen: list[Any] = []

    async def handler(event: Any, sent: Message[str]) -> None:
        seen.append((event, sent))

    handler.__annotations__["event"] = kind
    return sqs_listener(QUEUE, topic=TOPIC, converter=converter)(handler), seen


def enveloped(body: str, **attributes: str) -> str:
    values = {name: {"Type": "String", "Value": value} for name, value in attributes.items()}
    return json.dumps({"Type": "Notification", "Message": body, "MessageAttributes": values})


async def no_dead_letters(bench: Bench) -> None:
    await eventually(bench.is_empty)
    assert [letter.reason for letter in await bench.dead_letters()] == []


@pytest.mark.parametrize(
    ("converter", "document"), [(CloudEventsConverter(), CLOUD), (EventBridgeConverter(), BRIDGE)]
)
async def test_an_envelope_has_type_id_and_payload(
    engine: Engine, converter: MessageConverter, document: dict[str, Any]
) -> None:
    """Sent to the queue as it is, or through SNS without raw delivery."""
    handler, seen = recording(converter)
    async with listening(engine, handler) as bench:
        await bench.send(json.dumps(document))
        await bench.send(enveloped(json.dumps(document)))
        await no_dead_letters(bench)
    assert [event for event, _ in seen] == [Completed(order_id="1", version=3)] * 2
    for _, sent in seen:
        about = sent.id, sent.type, sent.subject, sent.sequence, sent.headers["ce-source"]
        assert about == ("e1", "OrderCompleted", "1", 3, "order")


async def test_context_attributes_are_headers() -> None:
    """Extensions too; the names of other specifications have no prefix."""
    converter = CloudEventsConverter()
    sent = converter.to_message(json.dumps(CLOUD), {})
    assert (sent.headers["traceparent"], sent.headers["ce-tenant"]) == ("00-1-2-01", "acme")
    text = CLOUD | {"data_base64": base64.b64encode(b"{}").decode(), "sequence": 7}
    sent = converter.to_message(json.dumps(text), {})
    assert (sent.payload, sent.sequence) == ("{}", 7)


async def test_a_channel_and_a_queue_with_a_converter_understand_each_other(engine: Engine) -> None:
    """The filter policy applies; messages of another form are still read."""
    converter = CloudEventsConverter(source="order")
    handler, seen = recording(converter)
    async with listening(engine, handler) as bench:
        channel = ConvertingChannel(bench.transport.topic(bench.listener.binding.topic), converter)
        completed = Completed(order_id="1", version=3)
        await channel.send([message_of(completed)])
        await channel.send([message_of(completed, converter=converter)])  # is not converted twice
        await bench.publish(message_of(completed))
        await eventually(lambda: _has(seen, 3))
        await no_dead_letters(bench)
    assert [event for event, _ in seen] == [completed] * 3
    document = json.loads(converter.to_wire(message_of(completed)).payload)
    assert document["data"] == {"order_id": "1", "version": 3}
    assert (document["specversion"], document["source"], document["sequence"]) == ("1.0", "order", "3")


async def _has(seen: list[Any], count: int) -> bool:
    return len(seen) == count


async def test_a_converter_of_a_user_has_its_own_form(engine: Engine) -> None:
    """Bytes in Base64, with its own content type, and also in SNS's envelope."""
    handler, seen = recording(SnsEnvelopeConverter(ReversedConverter()))
    completed = Completed(order_id="1", version=3)
    sent = message_of(completed, converter=ReversedConverter())
    assert sent.headers[CONTENT_TYPE] == "application/x-reversed"
    async with listening(engine, handler) as bench:
        await bench.publish(sent)
        await bench.send(enveloped(sent.payload, **sent.headers))
        await eventually(lambda: _has(seen, 2))
        await no_dead_letters(bench)
    assert [event for event, _ in seen] == [completed] * 2


async def test_what_a_converter_cannot_read_is_a_dead_letter(engine: Engine) -> None:
    """Whatever it raises: in the headers, or in the payload."""

    class Strict(ReversedConverter):
        def to_message(self, body: str, attributes: Any) -> Message[str]:
            if body == "headers":
                raise KeyError("headers")
            return Message(body, attributes)

    handler, _ = recording(Strict())
    async with listening(engine, handler) as bench:
        for body in ("headers", "payload"):
            await bench.send(body, **{TYPE: "OrderCompleted"})
        await eventually(bench.is_empty)
        reasons = sorted(letter.reason for letter in await bench.dead_letters())
    assert reasons == [
        "UndecodableMessage: Error: Incorrect padding",
        "UndecodableMessage: KeyError: 'headers'",
    ]


async def test_notifications_of_s3_are_events(engine: Engine) -> None:
    """Typed by the kind of change; keys are decoded."""
    handler, seen = recording(S3Converter(), S3ObjectCreated)
    async with listening(engine, handler, unknown_types="ignore") as bench:
        await bench.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bills"}))
        await bench.send(json.dumps(S3))
        await bench.send(enveloped(json.dumps(S3)))
        await no_dead_letters(bench)
    for notification, _ in seen:
        [record] = notification.records
        assert (record.bucket, record.key, record.size) == ("bills", "2021/bill no. 7+.pdf", 5)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("converter", "body", "reason"),
    [
        (CloudEventsConverter(), BRIDGE, "the body is no CloudEvent: it has no specversion, type"),
        (CloudEventsConverter(), "{", "the body is not JSON"),
        (CloudEventsConverter(), CLOUD | {"data_base64": "?"}, "data_base64 is no text in Base64"),
        (EventBridgeConverter(), CLOUD, "the body is no event of EventBridge: it has no detail-type, detail"),
        (S3Converter(), BRIDGE, "the body is no notification of S3"),
        (S3Converter(), {"Records": [1]}, "the body is no notification of S3"),
    ],
)
def test_another_form_is_refused(converter: MessageConverter, body: Any, reason: str) -> None:
    """With the attributes that are missing."""
    with pytest.raises(UndecodableMessage, match=reason):
        converter.to_message(body if isinstance(body, str) else json.dumps(body), {})


GOOD = '{"order_id": "1", "version": 3}'
ZIPPED = base64.b64encode(gzip.compress(GOOD.encode(), mtime=0)).decode()
POINTER = json.dumps(
    ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]
)
TYPED = {TYPE: "OrderCompleted"}
NUMBER = {"DataType": "Number", "StringValue": "300000"}


@pytest.mark.parametrize(
    ("body", "attributes", "hint"),
    [
        (CLOUD, {}, "a CloudEvent in structured mode: use snsqs.converters.CloudEventsConverter"),
        (CLOUD, TYPED, "a CloudEvent in structured mode: use snsqs.converters.CloudEventsConverter"),
        (BRIDGE, {}, "an event of EventBridge: use snsqs.converters.EventBridgeConverter"),
        (enveloped(json.dumps(BRIDGE)), {}, "an event of EventBridge: use snsqs.converters.EventBridge"),
        (S3, {}, "a notification of S3: use snsqs.converters.S3Converter"),
        (
            {"Service": "Amazon S3", "Event": "s3:TestEvent"},
            {},
            "the test event that S3 sends .*: use snsqs.converters.S3Converter",
        ),
        ({"Type": "SubscriptionConfirmation", "Token": "t"}, {}, "SNS's request to confirm a subscription: "),
        ({"Type": "UnsubscribeConfirmation"}, {}, "SNS's confirmation that a subscription was deleted"),
        (enveloped(POINTER), TYPED, "a pointer to S3 .*; in the envelope of SNS"),
        (
            GOOD,
            {"JavaType": "com.acme.Completed"},
            "a message of Spring with the JavaType com.acme.Completed: ",
        ),
        (enveloped(GOOD, JavaType="com.acme.A"), {}, "a message of Spring with the JavaType com.acme.A: "),
        (POINTER, {}, r"a pointer to S3 \(claim check\): fetch the payload in a middleware"),
        (POINTER, TYPED, r"a pointer to S3 \(claim check\): fetch the payload in a middleware"),
        ("k", TYPED | {"ExtendedPayloadSize": NUMBER}, "a pointer to S3"),
        (ZIPPED, {}, "gzip in Base64: decompress it in a converter of your own"),
        (ZIPPED, TYPED, "gzip in Base64: decompress it in a converter of your own"),
        ("x", TYPED | {"content-encoding": "gzip"}, "gzip: decompress it in a converter of your own"),
    ],
)
async def test_a_dead_letter_names_the_form_of_another_sender(
    engine: Engine, body: Any, attributes: dict[str, Any], hint: str
) -> None:
    """With the remedy; a handler on a queue with the default converter."""
    handler, _ = recording(None)
    async with listening(engine, handler) as bench:
        await bench.send(body if isinstance(body, str) else json.dumps(body), **attributes)
        await eventually(bench.is_empty)
        [letter] = await bench.dead_letters()
    assert re.match(f"UndecodableMessage: .*; it looks like {hint}", letter.reason)


@pytest.mark.parametrize("body", ["{}", "[]", '["a", 1]', '{"Records": [1]}', "H4s", '{"Type": 1}', "1", ""])
async def test_other_messages_have_no_hint(engine: Engine, body: str) -> None:
    """A form is only named when it is recognised."""
    handler, _ = recording(None)
    async with listening(engine, handler) as bench:
        await bench.send(body or " ", **TYPED)
        await eventually(bench.is_empty)
        [letter] = await bench.dead_letters()
    assert "looks like" not in letter.reason


async def test_what_cannot_be_sent_is_refused() -> None:
    """Each message by itself; the others are sent."""
    sent = message_of(Completed(order_id="1", version=3))
    for converter in (EventBridgeConverter(), S3Converter()):
        with pytest.raises(InvalidEvent, match="only receives"):
            converter.to_wire(sent)
    async with MemoryBroker() as broker:
        channel = ConvertingChannel(broker.topic("t"), CloudEventsConverter())
        results = await channel.try_send([sent, sent.copy(headers={"ce-source": "order"})])
        assert isinstance(results[1], str)
        assert str(results[0]) == (
            "a CloudEvent needs source: set the header ce-source, or CloudEventsConverter(source=…)"
        )
        [binary] = await channel.try_send([sent.copy(headers={CONTENT_TYPE: "text/plain"})])
        assert str(binary) == "CloudEventsConverter sends application/json, not text/plain"
    assert CloudEventsConverter(source="s").to_wire(sent).headers[CONTENT_TYPE] == CLOUD_EVENT


def test_a_queue_has_one_converter() -> None:
    """Handlers without one take that of their queue; two different ones are refused."""
    cloud, bridge = CloudEventsConverter(), EventBridgeConverter()
    first, _ = recording(cloud)
    second, _ = recording(None, S3ObjectCreated)
    [binding] = bindings([second, first])
    assert binding.converter is cloud
    other, _ = recording(bridge, S3ObjectCreated)
    with pytest.raises(
        ListenerMisconfigured,
        match=r"test-queue: its handlers have different converters: CloudEventsConverter\(",
    ):
        bindings([first, other])


async def test_the_bindings_have_a_default_converter() -> None:
    """For all queues whose handlers name none."""
    cloud = CloudEventsConverter()
    seen: list[str] = []

    @sqs_listener("first-queue")
    async def first(event: Completed) -> None:
        seen.append(f"first {event.order_id}")

    @sqs_listener("second-queue", converter=EventBridgeConverter())
    async def second(event: Completed) -> None:
        seen.append(f"second {event.order_id}")

    bound = bindings([first, second], converter=cloud)
    assert [type(each.converter) for each in bound] == [CloudEventsConverter, EventBridgeConverter]
    async with MemoryBroker() as broker:
        for each in bound:
            broker.start(each)
        for queue, document in (("first-queue", CLOUD), ("second-queue", BRIDGE)):
            await broker.queue(queue).send(json.dumps(document), {}, group=None, deduplication="")
        await broker.join()
    assert sorted(seen) == ["first 1", "second 1"]


@pytest.mark.parametrize(
    "converter", [None, CloudEventsConverter(source="order"), SnsEnvelopeConverter(JsonConverter())]
)
async def test_a_subscription_without_raw_delivery_is_read(
    aws: AwsClients, converter: MessageConverter | None
) -> None:
    """The envelope that SNS makes, with all headers."""
    handler, seen = recording(converter)
    completed = Completed(order_id="1", version=3)
    sent = message_of(completed)
    topic = (await aws.sns.create_topic(Name="other-topic"))["TopicArn"]
    url = (await aws.sqs.create_queue(QueueName=QUEUE))["QueueUrl"]
    arn = (await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"][
        "QueueArn"
    ]
    await aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    async with listening(AwsEngine(aws), handler) as bench:
        channel: MessageChannel = SnsChannel(aws.sns, Topology(aws, create=True), "other-topic")
        if converter is not None:
            channel = ConvertingChannel(channel, converter)
        await channel.send([sent])
        await eventually(lambda: _has(seen, 1))
        await no_dead_letters(bench)
    [(event, received)] = seen
    assert (event, received.id, received.sequence) == (completed, sent.id, 3)
