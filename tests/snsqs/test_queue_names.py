"""Names of queues and topics: one function renames them, and names that are not valid are errors at start."""

import json

import pytest
from snsqs import Binding, ListenerMisconfigured, QueueSettings, bindings, sqs_listener
from snsqs.topology.__main__ import main

from tests.snsqs.queues import Painted

ARN = "arn:aws:sns:us-east-1:111122223333:theirs"


@sqs_listener("queue", topic=("events", ARN), settings=QueueSettings(dead_letter_queue="dead"))
async def handler(event: Painted) -> None: ...


@sqs_listener("work.fifo")
async def work(event: Painted) -> None: ...


HANDLERS = [handler, work]


def bound(queue: str, topic: str | None, dead_letters: str | None = None) -> list[Binding]:
    @sqs_listener(queue, topic=topic, settings=QueueSettings(dead_letter_queue=dead_letters))
    async def other(event: Painted) -> None: ...

    return bindings([other])


def test_one_function_renames_queues_dead_letter_queues_and_topics() -> None:
    """An ARN is the name of another account, and stays."""
    renamed, fifo = bindings(HANDLERS, rename=lambda name: f"eu-{name}")
    assert (renamed.queue, renamed.dead_letter_queue) == ("eu-queue", "eu-dead")
    assert list(renamed.topics) == ["eu-events", ARN]
    assert (fifo.queue, fifo.dead_letter_queue) == ("eu-work.fifo", "eu-work-dlq.fifo")


def test_the_command_has_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    """Of all names."""
    assert main(["show", "--json", "--prefix", "eu-", f"{__name__}:HANDLERS"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in first["topics"]] == ["eu-events", ARN]
    assert [first["queue"]["name"], first["deadLetterQueue"]["name"]] == ["eu-queue", "eu-dead"]
    assert second["queue"]["name"] == "eu-work.fifo"


def test_names_that_become_equal_are_errors() -> None:
    """Two queues would be one."""
    with pytest.raises(ListenerMisconfigured, match="two queues have the same new name"):
        bindings([on_first, on_second], rename=lambda _: "queue")


@sqs_listener("first")
async def on_first(event: Painted) -> None: ...


@sqs_listener("second")
async def on_second(event: Painted) -> None: ...


@pytest.mark.parametrize(
    ("queue", "topic", "dead_letters", "reason"),
    [
        ("my queue", None, None, "the queue name 'my queue' has other characters"),
        ("q" * 81, None, "dead", "has 81 characters; shorten it to 80 or less"),
        ("q" * 77, None, None, "the dead-letter queue name qqq"),
        ("https://sqs.aws/1/q", None, None, "the queue name 'https://sqs.aws/1/q'"),
        ("queue", "", None, "the topic name ''"),
        ("queue", "t" * 257, None, "has 257 characters"),
        ("queue", "events.fifo", None, "queue is a standard queue and events.fifo a FIFO topic"),
        ("queue.fifo", "events", None, "queue.fifo is a FIFO queue and events a standard topic"),
        ("queue.fifo", None, "dead", "the dead-letter queue dead of queue.fifo has to be FIFO too"),
    ],
)
def test_a_name_that_is_not_valid_is_an_error(
    queue: str, topic: str | None, dead_letters: str | None, reason: str
) -> None:
    """With handler, name and remedy."""
    with pytest.raises(ListenerMisconfigured, match=r"test_queue_names\.bound\..*other: ") as raised:
        bound(queue, topic, dead_letters)
    assert reason in str(raised.value)
