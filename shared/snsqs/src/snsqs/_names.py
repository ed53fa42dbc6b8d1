"""Validation of the names of queues and topics, as SQS and SNS do it when one is created."""

import re
from collections.abc import Iterable, Iterator

from snsqs._queue import is_fifo

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.fifo)?")
_MAX_QUEUE_NAME = 80
_MAX_TOPIC_NAME = 256


def name_errors(queue: str, dead_letter_queue: str, topics: Iterable[str]) -> Iterator[str]:
    """Return a sentence, with the remedy, for each name that is not valid or does not fit the queue."""
    yield from _errors("queue", queue, _MAX_QUEUE_NAME)
    yield from _errors("dead-letter queue", dead_letter_queue, _MAX_QUEUE_NAME)
    if is_fifo(dead_letter_queue) != is_fifo(queue):
        yield f"the dead-letter queue {dead_letter_queue} of {queue} has to be {_kind(queue)} too"
    for topic in topics:
        if not topic.startswith("arn:"):
            yield from _errors("topic", topic, _MAX_TOPIC_NAME)
        if is_fifo(topic) != is_fifo(queue):
            yield (
                f"{queue} is a {_kind(queue)} queue and {topic} a {_kind(topic)} topic; end both names in "
                ".fifo, or neither"
            )


def _errors(what: str, name: str, limit: int) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"the {what} name {name!r} has other characters than letters, digits, - and _; rename it"
    elif len(name) > limit:
        yield f"the {what} name {name} has {len(name)} characters; shorten it to {limit} or less"


def _kind(name: str) -> str:
    return "FIFO" if is_fifo(name) else "standard"
