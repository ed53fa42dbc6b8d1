"""Conversion between received bodies, messages and typed events."""

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

_MAX_CHARACTERS = 256

E = TypeVar("E", bound=DomainEvent)


class MessageConverter:
    """Converts JSON domain events, delivered raw or in an SNS envelope.

    The type on the wire is compared with the names that handlers declare; it never selects a class to import.
    """

    def to_message(self, body: str, attributes: Mapping[str, str]) -> Message[str]:
        """Return a received body and its string attributes as a Message. Raises UndecodableMessage.

        A body with a type attribute is not parsed here: `from_message` does that, once.
        """
        if attributes.get(TYPE):
            return _validated(Message(body, attributes))
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
        return _validated(Message(str(envelope.get("Message", "")), values))

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        """Return the payload as `event_type`. Raises UndecodableMessage, which names the fields that do not
        fit, also when headers contradict the payload: duplicates and older versions are detected by headers.
        """
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
    """Return an event as a Message to be sent: JSON, with a new id and the event's type, subject, sequence
    and time in headers. `copy(headers=…)` adds to them."""
    about = {
        ID: str(uuid.uuid4()),
        TYPE: event.event_type,
        SUBJECT: event.source.id,
        SEQUENCE: str(event.source.version),
        TIME: datetime.fromtimestamp(event.occurence_on / 1_000, UTC).isoformat(),
        CONTENT_TYPE: JSON,
    }
    return Message(event.model_dump_json(), about)


def _validated(message: Message[str]) -> Message[str]:
    """Return the message if its headers can be stored. Raises UndecodableMessage."""
    for name in (ID, SUBJECT):
        value = message.headers.get(name, "")
        if len(value) > _MAX_CHARACTERS or not value.isprintable():
            raise UndecodableMessage(f"{name} must be at most {_MAX_CHARACTERS} characters, and printable")
    if SEQUENCE in message.headers and message.sequence is None:
        sequence = message.headers[SEQUENCE][:_MAX_CHARACTERS]
        raise UndecodableMessage(f"{SEQUENCE} is not a version: {sequence}")
    content = message.headers.get(CONTENT_TYPE, JSON).partition(";")[0].strip().lower()
    if content != JSON and not content.endswith("+json"):
        raise UndecodableMessage(f"{CONTENT_TYPE} must be {JSON}, not {content[:_MAX_CHARACTERS]}")
    return message


def _json_object(body: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UndecodableMessage(f"the body is a JSON {type(document).__name__}, not an object")
    return document
