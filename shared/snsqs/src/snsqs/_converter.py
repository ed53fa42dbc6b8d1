"""MessageConverter: from what a queue delivers to a Message, and from its payload to a typed event.

`message_of` is the other way: an event as a Message, to be sent.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from snsqs._domain_event import DomainEvent
from snsqs._errors import UndecodableMessage
from snsqs._message import Message
from snsqs.headers import CONTENT_TYPE, ID, SEQUENCE, SUBJECT, TIME, TYPE

JSON = "application/json"

_CHARACTERS = 256

E = TypeVar("E", bound=DomainEvent)


class MessageConverter:
    """JSON domain events, delivered raw or in SNS's envelope.

    The type on the wire is only ever compared with the names that handlers declared; it never picks a
    class to import.
    """

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """A received body and its string attributes as a Message. Raises UndecodableMessage.

        A body that came with a type is not parsed here: the handler's event class does that, once.
        """
        if attributes.get(TYPE):
            return _checked(Message(body, attributes))
        document = _json_object(body)
        if document.get("Type") != "Notification":
            raise UndecodableMessage(f"the message has no {TYPE} attribute")
        return self._from_envelope(document)

    def _from_envelope(self, envelope: Mapping[str, Any]) -> Message[str]:
        attributes = envelope.get("MessageAttributes")
        values = {
            name: str(attribute["Value"])
            for name, attribute in (attributes if isinstance(attributes, dict) else {}).items()
            if isinstance(attribute, dict) and "Value" in attribute
        }
        if not values.get(TYPE):
            raise UndecodableMessage(f"the message in the SNS envelope has no {TYPE} attribute")
        return _checked(Message(str(envelope.get("Message", "")), values))

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        """The payload as `event_type`. Raises UndecodableMessage that names the fields that do not fit, or
        says what the attributes say otherwise: by them a message is recognised as seen, or as older."""
        try:
            event = event_type.model_validate_json(message.payload)
        except ValidationError as error:
            fields = "; ".join(
                ": ".join([*filter(None, [".".join(map(str, problem["loc"]))]), problem["msg"]])
                for problem in error.errors(include_url=False, include_input=False, include_context=False)
            )
            raise UndecodableMessage(f"the payload is not a {event_type.__name__}: {fields}") from None
        source = event.source
        if message.subject not in ("", source.id):
            raise UndecodableMessage(f"the payload is about {source.id}, {SUBJECT} about {message.subject}")
        if message.sequence not in (None, source.version):
            raise UndecodableMessage(
                f"the payload has version {source.version}, {SEQUENCE} {message.sequence}"
            )
        return event


def message_of(event: DomainEvent) -> Message[str]:
    """The event as it travels: its JSON, and in headers what a consumer recognises it by, under a new id.
    `copy(headers=…)` adds to them."""
    about = {
        ID: str(uuid.uuid4()),
        TYPE: event.event_type,
        SUBJECT: event.source.id,
        SEQUENCE: str(event.source.version),
        TIME: datetime.fromtimestamp(event.occurence_on / 1_000, UTC).isoformat(),
        CONTENT_TYPE: JSON,
    }
    return Message(event.model_dump_json(), about)


def _checked(message: Message[str]) -> Message[str]:
    """What the listener goes by, and keeps: names that a table can have, a version that is one."""
    for name in (ID, SUBJECT):
        value = message.headers.get(name, "")
        if len(value) > _CHARACTERS or not value.isprintable():
            raise UndecodableMessage(f"{name} must be at most {_CHARACTERS} characters, and printable")
    if SEQUENCE in message.headers and message.sequence is None:
        raise UndecodableMessage(f"{SEQUENCE} is not a version: {message.headers[SEQUENCE][:_CHARACTERS]}")
    content = message.headers.get(CONTENT_TYPE, JSON).partition(";")[0].strip().lower()
    if content != JSON and not content.endswith("+json"):
        raise UndecodableMessage(f"{CONTENT_TYPE} must be {JSON}, not {content[:_CHARACTERS]}")
    return message


def _json_object(body: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UndecodableMessage(f"the body is a JSON {type(document).__name__}, not an object")
    return document
