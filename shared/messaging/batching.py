"""Batches that SNS and SQS take: ten entries, and a limit of bytes for all of them together."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from shared.messaging.message import Message

ENTRIES = 10
BYTES = 240 * 1024
"""AWS takes 256 KiB in a batch; what is left is for what its own count adds."""

T = TypeVar("T")


def size_of(message: Message[str]) -> int:
    """Bytes as AWS counts them: the body in UTF-8, and name, data type and value of each attribute."""
    attributes = sum(
        len(name.encode()) + len("String") + len(value.encode()) for name, value in message.headers.items()
    )
    return len(message.payload.encode()) + attributes


def by_count_and_bytes(
    messages: Iterable[tuple[int, Message[str]]],
) -> Iterator[list[tuple[int, Message[str]]]]:
    """Numbered messages in batches that fit. A message that is too large alone must be sorted out before."""
    batch: list[tuple[int, Message[str]]] = []
    used = 0
    for number, message in messages:
        size = size_of(message)
        if batch and (len(batch) == ENTRIES or used + size > BYTES):
            yield batch
            batch, used = [], 0
        batch.append((number, message))
        used += size
    if batch:
        yield batch


def by_count(items: Sequence[T], size: int = ENTRIES) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
