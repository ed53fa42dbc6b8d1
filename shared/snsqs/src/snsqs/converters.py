"""Converters: forms of messages on the wire, chosen per queue, per channel or per message.

    @sqs_listener("billing-order-event-queue", topic="order-events", converter=CloudEventsConverter())
    async def on_order_completed(event: OrderCompleted) -> None: ...

    channel = ConvertingChannel(sns_channel, CloudEventsConverter(source="order"))
    await channel.send([message_of(OrderCompleted(...))])

`JsonConverter` is the default. `MessageConverter` is the protocol of all of them, to be implemented for other
forms, such as Protocol Buffers.
"""

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from snsqs._channel import MessageChannel
from snsqs._converter import (
    JSON,
    JsonConverter,
    MessageConverter,
    is_sns_envelope,
    json_object,
    unwrap_sns_envelope,
)
from snsqs._errors import InvalidEvent, MessagingError, TerminalError, UndecodableMessage
from snsqs._event import event
from snsqs._json import cloud_event
from snsqs._message import Message
from snsqs.headers import CONTENT_TYPE, ID, SOURCE, TIME, TRACEPARENT, TYPE

__all__ = [
    "CLOUD_EVENT",
    "CloudEventsConverter",
    "ConvertingChannel",
    "EventBridgeConverter",
    "JsonConverter",
    "MessageConverter",
    "S3Converter",
    "S3Notification",
    "S3ObjectCreated",
    "S3ObjectRemoved",
    "S3Record",
    "SnsEnvelopeConverter",
]

CLOUD_EVENT = "application/cloudevents+json"
"""Media type of a CloudEvent in structured mode."""

E = TypeVar("E")


class CloudEventsConverter(JsonConverter):
    """Converts CloudEvents in structured mode: one JSON document with context attributes and `data`, raw or
    in SNS's envelope. See https://github.com/cloudevents/spec, JSON event format.

    Received context attributes become headers (`type` is `ce-type`), and `data` the payload. A message that
    is no such document is read as by `JsonConverter` if it has the header `ce-type` (binary mode).

    Sent messages keep their headers as message attributes, by which SNS filters.
    """

    def __init__(self, *, source: str = "") -> None:
        """
        Args:
            source: `source` of sent events without the header `ce-source`; required by CloudEvents.
        """
        super().__init__()
        self._source = source

    def __repr__(self) -> str:
        return f"CloudEventsConverter(source={self._source!r})"

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received CloudEvent as a Message. Raises UndecodableMessage."""
        if attributes.get(TYPE) and not _is_cloud_event(attributes):
            return super().to_message(body, attributes)
        document = json_object(body)
        if is_sns_envelope(document):
            return self.to_message(*unwrap_sns_envelope(document))
        missing = [name for name in ("specversion", "id", "source", "type") if not document.get(name)]
        if missing:
            raise UndecodableMessage(f"the body is no CloudEvent: it has no {', '.join(missing)}")
        context = {_header(name): _text(value) for name, value in document.items() if name not in _DATA}
        content = context.get(CONTENT_TYPE, JSON)
        return super().to_message(_data(document), {**attributes, **context, CONTENT_TYPE: content})

    def to_wire(self, message: Message[str]) -> Message[str]:
        """Return a message as a CloudEvent in structured mode. Raises InvalidEvent without source or id."""
        if _is_cloud_event(message.headers):
            return message
        content = message.headers.get(CONTENT_TYPE, JSON)
        if content != JSON:
            raise InvalidEvent(f"CloudEventsConverter sends {JSON}, not {content}")
        context = {_attribute(name): value for name, value in message.headers.items() if value}
        context.pop("", None)
        context.setdefault("source", self._source)
        if missing := [name for name in ("id", "source", "type") if not context.get(name)]:
            raise InvalidEvent(
                f"a CloudEvent needs {', '.join(missing)}: set the header ce-{missing[0]}"
                + (", or CloudEventsConverter(source=…)" if "source" in missing else "")
            )
        body = cloud_event(context, message.payload)
        return Message(body, {**message.headers, SOURCE: context["source"], CONTENT_TYPE: CLOUD_EVENT})


_DATA = {"data", "data_base64", "specversion"}


def _is_cloud_event(headers: Mapping[str, str]) -> bool:
    return headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower() == CLOUD_EVENT


def _header(attribute: str) -> str:
    """Return the header of a context attribute. Those of other specifications have no prefix."""
    if attribute == "datacontenttype":
        return CONTENT_TYPE
    return attribute if attribute in (TRACEPARENT, "tracestate") else f"ce-{attribute}"


def _attribute(header: str) -> str:
    """Return the context attribute of a header, empty if it has none."""
    if header.startswith("ce-"):
        return header.removeprefix("ce-")
    return header if header in (TRACEPARENT, "tracestate") else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _data(document: Mapping[str, Any]) -> str:
    if "data_base64" not in document:
        return json.dumps(document.get("data"))
    try:
        return b64decode(document["data_base64"], validate=True).decode()
    except (ValueError, TypeError) as error:
        raise UndecodableMessage(f"data_base64 is no text in Base64: {error}") from None


class SnsEnvelopeConverter(MessageConverter):
    """Converts messages in SNS's envelope, which a subscription without raw delivery has, by another
    converter. A message without the envelope is passed on as it is.

    `JsonConverter` and all others of this module read the envelope themselves.
    """

    def __init__(self, converter: MessageConverter) -> None:
        """
        Args:
            converter: converts the message in the envelope.
        """
        self._converter = converter
        self.content_type = converter.content_type

    def validate_type(self, event_type: Any) -> None:
        self._converter.validate_type(event_type)

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return the message in the envelope. Raises UndecodableMessage."""
        try:
            document = {} if attributes.get(TYPE) else json_object(body)
        except UndecodableMessage:
            document = {}
        if is_sns_envelope(document):
            body, attributes = unwrap_sns_envelope(document)
        return self._converter.to_message(body, attributes)

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        return self._converter.from_message(message, event_type)

    def to_payload(self, event: object, event_type: Any) -> str:
        return self._converter.to_payload(event, event_type)

    def to_wire(self, message: Message[str]) -> Message[str]:
        return self._converter.to_wire(message)


class EventBridgeConverter(JsonConverter):
    """Converts events that a rule of EventBridge sends to a queue: the event type is `detail-type`, the
    payload is `detail`, and `id`, `source` and `time` are headers. Receives only.

    See https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html.
    """

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received event as a Message. Raises UndecodableMessage."""
        document = json_object(body)
        if is_sns_envelope(document):
            return self.to_message(*unwrap_sns_envelope(document))
        if missing := [name for name in ("detail-type", "detail") if name not in document]:
            raise UndecodableMessage(f"the body is no event of EventBridge: it has no {', '.join(missing)}")
        context = {ID: "id", TYPE: "detail-type", SOURCE: "source", TIME: "time"}
        headers = {name: _text(document[key]) for name, key in context.items() if document.get(key)}
        return Message(json.dumps(document["detail"]), {**attributes, **headers, CONTENT_TYPE: JSON})

    def to_wire(self, message: Message[str]) -> Message[str]:
        """Raise InvalidEvent: events are sent to EventBridge by its own API."""
        raise InvalidEvent(f"{message.type}: EventBridgeConverter only receives; send with PutEvents")


class S3Converter(JsonConverter):
    """Converts notifications that S3 sends to a queue or topic. Receives only.

    The event type is the name of the event up to its second colon: `s3:ObjectCreated`, `s3:ObjectRemoved` and
    so on, and `s3:TestEvent` for the message that S3 sends when notifications are set up. The payload is the
    notification; `S3ObjectCreated` and `S3ObjectRemoved` are events of it.

    See https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html.
    """

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received notification as a Message. Raises UndecodableMessage."""
        document = json_object(body)
        if is_sns_envelope(document):
            return self.to_message(*unwrap_sns_envelope(document))
        headers = {**attributes, TYPE: _s3_type(document), CONTENT_TYPE: JSON, SOURCE: "aws.s3"}
        return Message(body, headers)

    def to_wire(self, message: Message[str]) -> Message[str]:
        """Raise InvalidEvent: only S3 sends notifications."""
        raise InvalidEvent(f"{message.type}: S3Converter only receives")


def _s3_type(document: Mapping[str, Any]) -> str:
    if document.get("Event") == "s3:TestEvent":
        return "s3:TestEvent"
    try:
        names = {record["eventName"].removeprefix("s3:").partition(":")[0] for record in document["Records"]}
    except (KeyError, TypeError, AttributeError):
        names = set()
    if len(names) != 1:
        raise UndecodableMessage("the body is no notification of S3: Records need one kind of eventName")
    return f"s3:{names.pop()}"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True)


class _Bucket(_Model):
    name: str


class _Object(_Model):
    key: str
    size: int | None = None
    version_id: str | None = None


class _S3(_Model):
    bucket: _Bucket
    object: _Object


class S3Record(_Model):
    """One change of an object."""

    event_name: str
    """Name of the event, such as `ObjectCreated:Put`."""
    event_time: AwareDatetime
    s3: _S3

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.s3.bucket.name

    @property
    def key(self) -> str:
        """Key of the object; notifications have it encoded as in a URL."""
        return unquote_plus(self.s3.object.key)

    @property
    def size(self) -> int | None:
        """Size in bytes; None for an object that was removed."""
        return self.s3.object.size

    @property
    def version_id(self) -> str | None:
        """Version of the object in a versioned bucket."""
        return self.s3.object.version_id


class S3Notification(_Model):
    """A notification of S3; base class of events with other types than those of this module.

    @event("s3:ObjectRestore")
    class ObjectRestored(S3Notification): ...
    """

    records: tuple[S3Record, ...] = Field(alias="Records", min_length=1)


@event("s3:ObjectCreated")
class S3ObjectCreated(S3Notification):
    """Objects were created, or overwritten."""


@event("s3:ObjectRemoved")
class S3ObjectRemoved(S3Notification):
    """Objects were deleted, or marked as deleted."""


class ConvertingChannel(MessageChannel):
    """A MessageChannel that sends every message in the form of a converter, also those of a relay:

    ChannelSink(ConvertingChannel(channel, CloudEventsConverter()), source="billing")
    """

    def __init__(self, channel: MessageChannel, converter: MessageConverter) -> None:
        """
        Args:
            channel: sends the converted messages.
            converter: its `to_wire` converts each message.
        """
        self._channel = channel
        self._to_wire = converter.to_wire

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """Send messages. Return for each its id, or the error why it was not converted or accepted."""
        converted = [self._convert(message) for message in messages]
        results = iter(
            await self._channel.try_send([each for each in converted if isinstance(each, Message)])
        )
        return [next(results) if isinstance(each, Message) else each for each in converted]

    def _convert(self, message: Message[str]) -> Message[str] | MessagingError:
        try:
            return self._to_wire(message)
        except TerminalError as error:
            return error
