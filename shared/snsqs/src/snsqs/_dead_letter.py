"""Attributes of dead letters: the reason of the failure, and the original attributes."""

import json

from snsqs._queue import Attribute, RawAttributes, Received
from snsqs._validation import MAX_ATTRIBUTES
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON

_MAX_REASON_CHARACTERS = 1_000


def dead_letter_attributes(received: Received, error: BaseException, *, queue: str) -> RawAttributes:
    """Return the attributes of a dead letter: the original ones, `dead-letter-reason` as text and
    `dead-letter-details` as JSON.

    SQS permits ten. Original attributes beyond that, the `ce-` ones last, move into the details.
    """
    of_message = {
        name: value
        for name, value in sorted(received.raw_attributes.items(), key=_ours_first)
        if name not in (DEAD_LETTER_REASON, DEAD_LETTER_DETAILS)  # of an earlier failure
    }
    kept = dict(list(of_message.items())[: MAX_ATTRIBUTES - 2])
    details = {
        "error": type(error).__name__,
        "notes": getattr(error, "__notes__", []),
        "queue": queue,
        "receiveCount": received.receive_count,
        "messageId": received.message_id,
        "receivedAt": received.received_at.isoformat(),
    }
    if moved := {name: value.get("StringValue") for name, value in of_message.items() if name not in kept}:
        details["attributes"] = moved
    reason = f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARACTERS]
    return kept | {
        DEAD_LETTER_REASON: _text(_sqs_text(reason)),
        DEAD_LETTER_DETAILS: _text(json.dumps(details)),
    }


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
