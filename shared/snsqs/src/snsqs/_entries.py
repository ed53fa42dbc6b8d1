"""Entries: a message as an entry of a batch call of SNS or SQS, and the answer to the call."""

from collections.abc import Mapping
from typing import Any

from snsqs._errors import MessagingError, SendFailed, TerminalError
from snsqs._message import Message


class EntryRefused(TerminalError):
    """The transport refused this message for what it is, such as a character that it does not take."""


def text_attributes(message: Message[str]) -> dict[str, Any]:
    """The headers as message attributes; AWS refuses one without a value."""
    return {
        name: {"DataType": "String", "StringValue": value} for name, value in message.headers.items() if value
    }


def group_of(message: Message[str]) -> str:
    """The message group on a FIFO topic or queue: what happens to one aggregate stays in order."""
    return message.subject or "none"


def results_of(answer: Mapping[str, Any], count: int) -> list[str | MessagingError]:
    """For each of the `count` entries, whose ids are their places, its message id or its error."""
    results: list[str | MessagingError] = [SendFailed("the answer does not mention this message")] * count
    for sent in answer.get("Successful", ()):
        results[int(sent["Id"])] = sent["MessageId"]
    for failed in answer.get("Failed", ()):
        kind = EntryRefused if failed.get("SenderFault") else SendFailed
        results[int(failed["Id"])] = kind(f"{failed['Code']}: {failed.get('Message', '')}")
    return results
