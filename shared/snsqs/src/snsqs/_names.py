"""Validation of the addresses of queues and topics, before SQS or SNS rejects them."""

from collections.abc import Iterable, Iterator
from typing import Literal

from snsqs._address import is_name, parse_address
from snsqs._errors import ChannelMisconfigured
from snsqs._queue import is_fifo


def address_errors(queue: str, dead_letter_queue: str, topics: Iterable[str]) -> Iterator[str]:
    """Return a sentence, with the remedy, for each address that is not valid or does not fit the queue.

    Queue and topics are names, ARNs or (queue) URLs. The dead-letter queue is a name, because SQS requires it
    in the account and region of the queue.
    """
    yield from _invalid(queue, "sqs")
    if not is_name(dead_letter_queue):
        yield f"the dead-letter queue of {queue} is {dead_letter_queue}; give its name only"
    for sentence in _invalid(dead_letter_queue, "sqs"):
        yield f"dead-letter queue of {queue}: {sentence}; set QueueSettings.dead_letter_queue to another name"
    if is_fifo(dead_letter_queue) != is_fifo(queue):
        yield f"the dead-letter queue {dead_letter_queue} of {queue} has to be {_kind(queue)} too"
    for topic in topics:
        yield from _invalid(topic, "sns")
        if is_fifo(topic) != is_fifo(queue):
            yield (
                f"{queue} is a {_kind(queue)} queue and {topic} a {_kind(topic)} topic; end both names in "
                ".fifo, or neither"
            )


def _invalid(address: str, service: Literal["sns", "sqs"]) -> Iterator[str]:
    try:
        parse_address(address, service)
    except ChannelMisconfigured as error:
        yield str(error)


def _kind(name: str) -> str:
    return "FIFO" if is_fifo(name) else "standard"
