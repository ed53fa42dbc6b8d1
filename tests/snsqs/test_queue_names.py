"""Names of queues and topics: one function renames them, and names that are not valid are errors at start."""

import json

import pytest
from snsqs import Binding, ListenerMisconfigured, QueueSettings, bindings, sqs_listener
from snsqs.topology.__main__ import main

from tests.snsqs.queues import Painted

ARN = "arn:aws:sns:us-east-1:111122223333:theirs"
QUEUE_ARN = "arn:aws:sqs:us-east-1:111122223333:theirs"


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


def test_names_may_be_mapped_to_urls_and_arns() -> None:
    """For example to those in the settings of an environment."""
    names = {"queue": QUEUE_ARN, "events": ARN.replace("theirs", "events")}
    bound = bindings(HANDLERS[:1], rename=lambda name: names.get(name, name))
    [renamed] = bindings(bound, rename=lambda name: f"eu-{name}")
    assert (renamed.queue, renamed.queue_address) == ("theirs", QUEUE_ARN)
    assert list(renamed.topics) == [names["events"], ARN]
    assert renamed.dead_letter_queue == "eu-dead"


def test_a_queue_of_another_account_may_not_have_the_name_of_an_own_one() -> None:
    """Inbox and metrics tell queues apart by name."""

    @sqs_listener(["theirs", QUEUE_ARN])
    async def on_both(event: Painted) -> None: ...

    with pytest.raises(ListenerMisconfigured, match=f"theirs and {QUEUE_ARN} both have the name theirs"):
        bindings([on_both])


def test_a_queue_is_bound_once() -> None:
    """By a binding or by functions, in one list."""
    [one], [other] = bindings([on_first]), bindings([on_first])
    assert [each.queue for each in bindings([one, on_second, one])] == ["first", "second"]
    with pytest.raises(ListenerMisconfigured, match="first: pass the queue's binding or its functions"):
        bindings([one, on_first])
    with pytest.raises(ListenerMisconfigured, match="first has two bindings; pass one"):
        bindings([one, other])


def test_the_command_has_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    """Of all names."""
    assert main(["show", "--json", "--prefix", "eu-", f"{__name__}:HANDLERS"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in first["topics"]] == ["eu-events", ARN]
    assert [first["queue"]["name"], first["deadLetterQueue"]["name"]] == ["eu-queue", "eu-dead"]
    assert second["queue"]["name"] == "eu-work.fifo"


def test_names_that_become_equal_are_errors() -> None:
    """Two queues would be one."""
    with pytest.raises(ListenerMisconfigured, match="the queues first and second both have the name queue"):
        bindings([on_first, on_second], rename=lambda _: "queue")


@sqs_listener("first")
async def on_first(event: Painted) -> None: ...


@sqs_listener("second")
async def on_second(event: Painted) -> None: ...


@pytest.mark.parametrize(
    ("queue", "topic", "dead_letters", "reason"),
    [
        ("my queue", None, None, "'my queue' is not the name, URL or ARN of a queue; a name has up to 80"),
        ("q" * 81, None, "dead", "q' is not the name, URL or ARN of a queue; a name has up to 80 letters"),
        ("q" * 77, None, None, "q-dlq' is not the name, URL or ARN of a queue"),
        ("q" * 77, None, None, f"dead-letter queue of {'q' * 77}: 'qqq"),
        ("q" * 77, None, None, ".fifo; set QueueSettings.dead_letter_queue to another name"),
        ("https://sqs.aws/q", None, None, "'https://sqs.aws/q' is not the name, URL or ARN of a queue"),
        ("arn:aws:sqs:us-east-1::q", None, None, "'arn:aws:sqs:us-east-1::q' is not the name, URL or ARN"),
        (ARN, None, None, f"{ARN} is not the ARN of a queue; it begins with arn:aws:sqs:"),
        ("queue", None, QUEUE_ARN, f"the dead-letter queue of queue is {QUEUE_ARN}; give its name only"),
        ("queue", "t" * 257, None, "a name has up to 256 letters"),
        ("queue", QUEUE_ARN, None, f"{QUEUE_ARN} is not the ARN of a topic; it begins with arn:aws:sns:"),
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
