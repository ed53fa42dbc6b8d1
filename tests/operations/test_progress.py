"""Progress of a service, as its `/progress` endpoint reports it."""

import json
from functools import partial
from typing import Any

from snsqs import AwsClients

from shared.operations.recent_entries import MAX_ENTRIES, RecentEntries
from shared.operations.tally import Tally
from tests.order.test_api import place
from tests.serving import Served, eventually
from tests.snsqs.relays import locked

QUEUE = "order-adapter-scm-event-queue"


async def progress(service: Served, *after: str) -> dict[str, Any]:
    answer = await service.http.get("/progress", params={"after": list(after)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def deliver(aws: AwsClients, order_id: str, *, event_id: str, version: int = 1, **about: str) -> None:
    """An answer of SCM, straight into the Order service's queue."""
    url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    source = {"id": order_id, "version": version, "status": "SHORT"}
    headers = {"ce-id": event_id, "ce-type": "StockShort", "ce-subject": order_id} | about
    attributes: Any = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in (headers | {"ce-sequence": str(version)}).items()
    }
    body = json.dumps({"source": source, "occurenceOn": 1})
    await aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)


async def test_the_outcome_of_each_message_is_reported(order: Served, aws: AwsClients) -> None:
    """Handled, duplicate, superseded, dead with its reason: by handler, and counted by outcome."""
    order_id = await place(order)
    (await order.http.post(f"/orders/{order_id}/complete")).raise_for_status()
    cursor = (await progress(order))["cursor"]

    async def settled(count: int) -> list[Any] | None:
        messages: list[Any] = (await progress(order, cursor))["settled"]
        return messages if len(messages) >= count else None

    for count, (event_id, version) in enumerate((("a", 2), ("a", 2), ("b", 1)), start=1):
        await deliver(aws, order_id, event_id=event_id, version=version)
        await eventually(partial(settled, count), within=60)
    await deliver(aws, "1" * 20, event_id="c")
    messages = await eventually(partial(settled, 4), within=60)
    outcomes = [(each["messageId"], each["outcome"]) for each in messages]
    assert outcomes == [("a", "handled"), ("a", "duplicate"), ("b", "superseded"), ("c", "dead_letter")]
    assert messages[-1]["reason"].startswith("TerminalError: ")
    assert messages[0]["handler"].startswith("services.order.replies.")
    assert messages[0]["receivedAt"] < messages[0]["settledAt"]
    [listener] = (await progress(order))["listeners"]
    assert listener["counts"] == {"handled": 1, "duplicate": 1, "superseded": 1, "dead_letter": 1}
    assert 1 <= listener["perMinute"] <= 4  # fewer if the test has taken more than a minute


async def test_without_a_cursor_no_settled_messages_are_returned(order: Served, aws: AwsClients) -> None:
    """A new client gets the messages settled from now on."""
    await deliver(aws, "1" * 20, event_id="x")

    async def is_settled() -> bool:
        return bool((await progress(order))["listeners"][0]["counts"])

    await eventually(is_settled, within=60)
    assert (await progress(order))["settled"] == []


async def test_progress_is_reported_without_the_database(order: Served, order_database: str) -> None:
    """The figures kept in memory; those of the outbox are null."""
    async with locked(order_database, "event_log"):
        found = await progress(order)
    assert found["trouble"].startswith("database: ")
    assert found["relay"]["waiting"] is None
    assert found["listeners"][0]["trouble"] is None
    assert (await progress(order))["relay"]["waiting"] == 0


async def test_an_invalid_cursor_is_rejected(order: Served) -> None:
    """422, as problem details."""
    for cursor in ("", "x", "0123456789ab-", "0123456789ab-" + "9" * 19, "-1"):
        answer = await order.http.get("/progress", params={"after": cursor})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"


def test_entries_after_a_cursor_are_returned_once() -> None:
    """From one cursor to the next, none is missed and none is repeated."""
    recent = RecentEntries[int]()
    cursors, returned = [recent.cursor], list[int]()
    for number in range(100):
        recent.add(number)
        if number % 7 == 0:
            entries, missed = recent.after(cursors)
            cursors, returned = [recent.cursor], returned + entries
            assert missed == 0
    assert returned == list(range(99))


def test_dropped_entries_are_counted() -> None:
    """Memory is bounded; a client that falls behind gets the rest, and the number of those dropped."""
    recent = RecentEntries[int]()
    cursor = recent.cursor
    for number in range(MAX_ENTRIES + 30):
        recent.add(number)
    assert recent.after([cursor]) == (list(range(30, MAX_ENTRIES + 30)), 30)


def test_each_instance_uses_its_own_cursor() -> None:
    """Several instances behind one address: each finds its own among the given cursors."""
    one, other = RecentEntries[int](), RecentEntries[int]()
    cursors = [one.cursor, other.cursor]
    one.add(1)
    other.add(2)
    assert one.after(cursors) == ([1], 0)
    assert other.after(cursors) == ([2], 0)
    assert one.after([other.cursor]) == ([], 0)


def test_a_tally_counts_by_name_and_by_time() -> None:
    """In all, in the last minute, and in the mean of the last five seconds; a quiet time brings it down."""
    now = 1_000.0
    tally = Tally(clock=lambda: now)
    for second in range(120):
        now = 1_000.0 + second
        tally.add("handled", 2)
        tally.add("failed")
    assert tally.counts == {"handled": 240, "failed": 120}
    assert (tally.per_minute, tally.per_second) == (180, 3.0)
    now += 30
    assert (tally.per_minute, tally.per_second) == (90, 0.0)
    now += 1_000
    assert (tally.per_minute, tally.counts["handled"]) == (0, 240)
