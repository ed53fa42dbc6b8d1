"""Conversion between received bodies, messages and typed events."""

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from snsqs._envelopes import envelope_hint
from snsqs._errors import InvalidEvent, UndecodableMessage
from snsqs._event import declared, name_of
from snsqs._json import encode
from snsqs._message import Message
from snsqs._model import WireModel
from snsqs.headers import CONTENT_TYPE, ID, SEQUENCE, SUBJECT, TIME, TYPE

JSON = "application/json"

MAX_HEADER_CHARACTERS = 256

_MAX_CODECS = 1_000
"""Event types of which a converter keeps validator and serializer."""

_RANDOM_BITS = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF
_VERSION_4 = 0x00000000_0000_4000_8000_000000000000

E = TypeVar("E")


class MessageConverter(Protocol):
    """Converts between bodies on the wire, messages and typed events, after Spring Messaging.

    Received, a body becomes a Message (`to_message`) and its payload an event (`from_message`); sent, an
    event becomes a payload (`to_payload`) and a Message takes its form on the wire (`to_wire`). A converter
    is chosen per queue (`sqs_listener`), per channel (`snsqs.converters.ConvertingChannel`) and per message
    (`message_of`).

    Inherit from this class and define `content_type`, `from_message` and `to_payload`; the other methods have
    defaults. Methods must not block; what waits for another service, such as a claim check, is a Middleware
    and a ChannelInterceptor. Errors are TerminalErrors: the message becomes a dead letter.
    """

    content_type: str
    """Media type of the payloads, the header `content-type` of sent messages."""

    def validate_type(self, event_type: Any) -> None:  # noqa: ARG002
        """Raise InvalidEvent if the converter cannot convert events of the type. Called at start."""
        return

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received body and its string attributes as a Message. Raises UndecodableMessage.

        The header `ce-type` selects the handler. It is compared with the names that handlers declare; it
        never selects a class to import. A message without it is handled by `ListenerOptions.default_type`
        and `untyped`.
        """
        return Message(body, attributes)

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        """Return the payload as `event_type`, the annotation of the handler. Raises UndecodableMessage."""
        ...

    def to_payload(self, event: object, event_type: Any) -> str:
        """Return an event as a payload, the inverse of `from_message`. Raises InvalidEvent."""
        ...

    def to_wire(self, message: Message[str]) -> Message[str]:
        """Return a message in the form in which it is sent, the inverse of `to_message`. A message that has
        this form already is returned as it is. Raises TerminalError."""
        return message


class JsonConverter(MessageConverter):
    """Converts events of pydantic models, dataclasses and TypedDicts to and from JSON.

    Received bodies are the payload itself (raw delivery) or SNS's envelope around it. `from_message` names
    the fields that do not fit.
    """

    content_type = JSON

    def __init__(self) -> None:
        self._codecs: dict[int, _Codec] = {}

    def validate_type(self, event_type: Any) -> None:
        """Raise InvalidEvent if pydantic has no schema for the type."""
        self._codec(event_type)

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received body and its string attributes as a Message. Raises UndecodableMessage.

        A body with a type attribute is not parsed here: `from_message` does that, once.
        """
        if not attributes.get(TYPE):
            document = json_object(body)
            if is_sns_envelope(document):
                body, attributes = unwrap_sns_envelope(document)
        if (content := attributes.get(CONTENT_TYPE, JSON)) != JSON:
            media_type = content.partition(";")[0].strip().lower()
            if media_type != JSON and not media_type.endswith("+json"):
                shown = media_type[:MAX_HEADER_CHARACTERS]
                raise UndecodableMessage(f"{CONTENT_TYPE} must be {JSON}, not {shown}")
        return Message(body, attributes)

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        """Return the JSON payload as `event_type`. Raises UndecodableMessage, which names the fields that do
        not fit."""
        try:
            event: E = self._codec(event_type).decode(message.payload)
        except ValidationError as error:
            fields = "; ".join(
                ": ".join([*filter(None, [".".join(map(str, problem["loc"]))]), problem["msg"]])
                for problem in error.errors(include_url=False, include_input=False, include_context=False)
            )
            raise UndecodableMessage(f"the payload is not a {name_of(event_type)}: {fields}") from None
        return event

    def to_payload(self, event: object, event_type: Any) -> str:
        """Return an event as JSON. Raises InvalidEvent, which names the field, if a value does not fit its
        type or JSON cannot represent it: NaN, an infinity, half of a surrogate pair."""
        try:
            return encode(self._codec(event_type).serializer, event).decode()
        except ValueError as error:
            raise InvalidEvent(f"the event is not a {name_of(event_type)}: {error}") from error

    def _codec(self, event_type: Any) -> "_Codec":
        # By identity: metadata of an Annotated type need not be hashable.
        codec = self._codecs.get(id(event_type))
        if codec is None:
            if len(self._codecs) == _MAX_CODECS:  # of types that are made while the program runs
                del self._codecs[next(iter(self._codecs))]
            codec = self._codecs[id(event_type)] = _Codec(event_type)
        return codec


class _Codec:
    """Validator and serializer of an event type. Raises InvalidEvent if pydantic has no schema for it."""

    def __init__(self, event_type: Any) -> None:
        try:
            adapter = TypeAdapter[Any](event_type)
            self.serializer, validator = adapter.serializer, adapter.validator
            self.decode: Callable[[str], Any] = validator.validate_json
        except (PydanticUserError, PydanticSchemaGenerationError) as error:
            reason = error.message.partition("\n")[0]
            raise InvalidEvent(f"{name_of(event_type)} has no JSON form: {reason}") from None
        self.event_type = event_type
        if isinstance(event_type, type) and issubclass(event_type, WireModel):
            # The names of the fields are another spelling, for Python only.
            self.decode = partial(validator.validate_json, by_alias=True, by_name=False)


JSON_CONVERTER = JsonConverter()


def message_of(
    event: object, event_type: Any = None, *, converter: MessageConverter | None = None
) -> Message[str]:
    """Return an event as a Message to be sent, with a new id and the event's type, subject (aggregate id),
    sequence (version) and time in headers. `copy(headers=…)` adds to them.

    `event_type` is the type of an event whose class is not declared: a TypedDict, or a union such as
    `Annotated[Card | Cash, event("OrderPaid")]`. `converter` is JSON by default. Raises InvalidEvent.
    """
    kind = type(event) if event_type is None else event_type
    declaration = declared(kind)
    converter = converter or JSON_CONVERTER
    headers = {ID: _new_id(), TYPE: declaration.name}
    if subject := declaration.id_of(event):
        headers[SUBJECT] = subject
    if (version := declaration.version_of(event)) is not None:
        headers[SEQUENCE] = str(version)
    headers[TIME] = declaration.time_of(event).isoformat()
    headers[CONTENT_TYPE] = converter.content_type
    return converter.to_wire(Message(converter.to_payload(event, kind), headers))


def _new_id() -> str:
    """Return a random UUID (version 4). A UUID object takes as long as the encoding of a small event."""
    digits = f"{int.from_bytes(os.urandom(16)) & _RANDOM_BITS | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def validate_headers(message: Message[str]) -> None:
    """Raise UndecodableMessage if the message's headers cannot be stored."""
    for name in (ID, SUBJECT):
        value = message.headers.get(name, "")
        if len(value) > MAX_HEADER_CHARACTERS or not value.isprintable():
            raise UndecodableMessage(
                f"{name} must be at most {MAX_HEADER_CHARACTERS} characters, and printable"
            )
    if SEQUENCE in message.headers and message.sequence is None:
        sequence = message.headers[SEQUENCE][:MAX_HEADER_CHARACTERS]
        raise UndecodableMessage(f"{SEQUENCE} is not a version: {sequence}")


def json_object(body: str) -> dict[str, Any]:
    """Return a body that is a JSON object. Raises UndecodableMessage."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UndecodableMessage(f"the body is a JSON {type(document).__name__}, not an object")
    return document


def is_sns_envelope(document: Mapping[str, Any]) -> bool:
    """Return whether SNS delivered the message without raw delivery."""
    return document.get("Type") == "Notification"


def unwrap_sns_envelope(envelope: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return body and attributes of a message in SNS's envelope."""
    attributes = envelope.get("MessageAttributes")
    values = {
        name: str(attribute["Value"])
        for name, attribute in (attributes if isinstance(attributes, dict) else {}).items()
        if isinstance(attribute, dict) and "Value" in attribute
    }
    return str(envelope.get("Message", "")), values


def untyped_reason(body: str, message: Message[str]) -> str:
    """Return the reason why a message without a type cannot be handled: that of a received body."""
    try:
        is_enveloped = is_sns_envelope(json_object(body))
    except UndecodableMessage:
        is_enveloped = False
    subject = "the message in the SNS envelope" if is_enveloped else "the message"
    return f"{subject} has no {TYPE} attribute{envelope_hint(message.payload, message.headers)}"
