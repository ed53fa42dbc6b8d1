"""Attributes of dead letters: the reason of the failure, and the original attributes."""

import json
from base64 import b64decode, b64encode
from typing import Any

from snsqs._errors import error_reason
from snsqs._queue import Attribute, RawAttributes, Received
from snsqs._validation import MAX_ATTRIBUTES
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON

_MAX_REASON_CHARACTERS = 1_000


def dead_letter_attributes(received: Received, error: BaseException, *, queue: str) -> RawAttributes:
    """Return the attributes of a dead letter: the original ones, `dead-letter-reason` as text and
    `dead-letter-details` as JSON.

    SQS permits ten. Original attributes beyond that, the `ce-` ones last, move into the details.
    """
    of_message = dict(sorted(original_attributes(received).items(), key=_ours_first))
    kept = dict(list(of_message.items())[: MAX_ATTRIBUTES - 2])
    details = {
        "error": type(error).__name__,
        "notes": _notes(error),
        "queue": queue,
        "receiveCount": received.receive_count,
        "messageId": received.message_id,
        "receivedAt": received.received_at.isoformat(),
    }
    if moved := {name: _to_json(value) for name, value in of_message.items() if name not in kept}:
        details["attributes"] = moved
    reason = error_reason(error)[:_MAX_REASON_CHARACTERS]
    return kept | {
        DEAD_LETTER_REASON: _text(_sqs_text(reason)),
        DEAD_LETTER_DETAILS: _text(json.dumps(details)),
    }


def original_attributes(received: Received) -> RawAttributes:
    """Return the attributes that a dead letter had before it failed: without its own two, with those that
    moved into the details. Any other message has the attributes that it has."""
    kept = {
        name: value
        for name, value in received.raw_attributes.items()
        if name not in (DEAD_LETTER_REASON, DEAD_LETTER_DETAILS)
    }
    return kept | _moved(received.attributes.get(DEAD_LETTER_DETAILS, "{}"))


def _moved(details: str) -> dict[str, Attribute]:
    try:
        return {name: _from_json(value) for name, value in json.loads(details)["attributes"].items()}
    except (LookupError, TypeError, ValueError, AttributeError):  # none, or not written by the library
        return {}


def _to_json(attribute: Attribute) -> Any:
    """Return an attribute as a value in the details: a text as it is, other types with their type."""
    if attribute["DataType"] == "String":
        return attribute["StringValue"]
    if "BinaryValue" not in attribute:
        return attribute
    return {"DataType": attribute["DataType"], "BinaryValue": b64encode(attribute["BinaryValue"]).decode()}


def _from_json(value: Any) -> Attribute:
    if isinstance(value, str):
        return _text(value)
    if "BinaryValue" not in value:
        return {"DataType": value["DataType"], "StringValue": value["StringValue"]}
    return {"DataType": value["DataType"], "BinaryValue": b64decode(value["BinaryValue"])}


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)  # an attribute that anyone may set, to anything
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _ours_first(attribute: tuple[str, Attribute]) -> bool:
    """Sort key: attributes by which the inbox detects duplicates come first, and stay attributes."""
    return not attribute[0].startswith("ce-")


def _text(value: str) -> Attribute:
    return {"DataType": "String", "StringValue": value}


def _sqs_text(value: str) -> str:
    """Replace characters that SQS does not accept, all but those of XML 1.0."""
    return "".join(
        c
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        else "\ufffd"
        for c in value
    )
