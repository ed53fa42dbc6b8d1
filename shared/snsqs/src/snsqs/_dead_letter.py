"""Dead letters: what can never succeed goes to the dead-letter queue, with the reason."""

import json

from snsqs._queue import Attribute, RawAttributes, Received
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON

_ATTRIBUTES = 10
_REASON_CHARACTERS = 1_000


def dead_letter_attributes(received: Received, error: BaseException, *, queue: str) -> RawAttributes:
    """The attributes of the dead letter: the original ones, the reason for a person, the details as JSON.

    SQS takes ten; the original ones that find no place are kept inside the details.
    """
    of_message = {
        name: value
        for name, value in sorted(received.raw_attributes.items(), key=_ours_first)
        if name not in (DEAD_LETTER_REASON, DEAD_LETTER_DETAILS)  # of an earlier death
    }
    kept = dict(list(of_message.items())[: _ATTRIBUTES - 2])
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
    reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
    return kept | {
        DEAD_LETTER_REASON: _text(_sqs_text(reason)),
        DEAD_LETTER_DETAILS: _text(json.dumps(details)),
    }


def _ours_first(attribute: tuple[str, Attribute]) -> bool:
    """What the inbox recognises a message by must stay an attribute, whatever else it carries."""
    return not attribute[0].startswith("ce-")


def _text(value: str) -> Attribute:
    return {"DataType": "String", "StringValue": value}


def _sqs_text(value: str) -> str:
    """SQS takes the characters of XML 1.0 only; an error message may quote anything."""
    return "".join(
        c
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        else "\ufffd"
        for c in value
    )
