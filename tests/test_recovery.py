"""Dead letters through the adapter's API: looked at, sent back, discarded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from local.ports import HOST
from services.adapter.main import create_app
from services.adapter.settings import Settings
from shared.messaging import AwsClients, Topology, bindings, sqs_listener
from shared.messaging.message import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON
from tests.letters import (
    DEAD_LETTERS,
    QUEUE,
    Graveyard,
    begin,
    browse,
    do,
    ended,
    graveyard,
    letters,
    orders,
    refused,
)
from tests.queues import Painted, message
from tests.serving import OPERATOR, Served, eventually, serving


@pytest.fixture
async def dead(aws: AwsClients) -> Graveyard:
    return await graveyard(aws)


async def test_a_look_shows_what_is_known(adapter: Served, dead: Graveyard) -> None:
    """What the message is about, why, when and after how many receives it died, and its body."""
    died = message("OrderCompleted", subject="7", version=2)
    await dead.bury(died, error=ValueError("no such article"))
    [letter] = await letters(adapter)
    told = {name: letter[name] for name in ("eventId", "type", "orderId", "version", "reason", "error")}
    assert told == {
        "eventId": died.id,
        "type": "OrderCompleted",
        "orderId": "7",
        "version": 2,
        "reason": "ValueError: no such article",
        "error": "ValueError",
    }
    assert (letter["queue"], letter["receiveCount"], letter["body"]) == (DEAD_LETTERS, 5, died.payload)
    assert letter["sentAt"] is not None


async def test_a_look_consumes_nothing(adapter: Served, dead: Graveyard) -> None:
    """Everything is visible again at once, however often somebody looks; only the looks are counted."""
    await dead.bury(*orders(25))
    first = await letters(adapter)
    assert await dead.counts() == (0, 25)
    again = await letters(adapter)
    assert sorted(each["id"] for each in first) == sorted(each["id"] for each in again)
    assert len({each["id"] for each in first}) == 25
    assert {each["looks"] for each in again} == {2}


async def test_looks_at_the_same_time_see_the_same(adapter: Served, dead: Graveyard) -> None:
    """They wait for each other, because who looks holds what is looked at."""
    await dead.bury(*orders(12))
    founds = await asyncio.gather(*(letters(adapter) for _ in range(3)))
    assert [len(found) for found in founds] == [12, 12, 12]


async def test_a_look_says_what_it_did_not_see(adapter: Served, dead: Graveyard) -> None:
    """Because it was long enough, or because somebody else holds it."""
    await dead.bury(*orders(15))
    found = await browse(adapter, limit=4)
    assert len(found["letters"]) == 4
    assert "about 11 more are there" in found["queues"][0]["incomplete"]
    held = await dead.queues.dead_letters.receive(limit=5, wait=1, visibility=30)
    [look] = (await browse(adapter))["queues"]
    assert (look["count"], look["lookedAt"]) == (15, 15 - len(held))
    assert f"about {len(held)} more are there" in look["incomplete"]


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        ({"type": "OrderCancelled"}, {"9"}),
        ({"orderId": "1"}, {"1"}),
        ({"error": "keyerror"}, {"9"}),
        ({"error": "SUCH ARTICLE"}, {"0", "1", "2"}),
        ({"queue": QUEUE}, {"0", "1", "2", "9"}),
        ({"queue": DEAD_LETTERS, "type": "OrderCompleted", "orderId": "9"}, set()),
    ],
)
async def test_a_look_is_filtered(
    adapter: Served, dead: Graveyard, wanted: dict[str, str], seen: set[str]
) -> None:
    """By queue (or the queue that it serves), type, error and order; every filter has to fit."""
    await dead.bury(*orders(3))
    await dead.bury(message("OrderCancelled", subject="9"), error=KeyError("x"))
    assert {each["orderId"] for each in await letters(adapter, **wanted)} == seen


async def test_what_sqs_moved_by_itself_has_no_reason(adapter: Served, dead: Graveyard) -> None:
    """Nobody could write one down: its consumer was killed each time. What is no event is shown as well."""
    await dead.queues.dead_letters.send("not JSON", {}, group=None, deduplication="")
    [letter] = await letters(adapter)
    assert (letter["reason"], letter["receiveCount"], letter["type"]) == (None, None, None)
    assert letter["body"] == "not JSON"


async def test_a_redriven_message_is_as_it_was(adapter: Served, dead: Graveyard) -> None:
    """Body, ids and attributes; what said that it was dead is gone, what had found no place is back."""
    crowded = {f"tenant-{number}": str(number) for number in range(6)}
    died = message("OrderCompleted", **crowded)
    assert len(died.headers) == 10
    await dead.bury(died)
    [letter] = await letters(adapter)
    assert DEAD_LETTER_REASON in letter["attributes"]
    assert "tenant-5" not in letter["attributes"]
    operation = await do(adapter, "redrive", selection={"ids": [letter["id"]]})
    assert (operation["status"], operation["done"], operation["failed"]) == ("done", 1, 0)
    [redriven] = await dead.received()
    assert (redriven.body, redriven.attributes) == (died.payload, dict(died.headers))
    assert DEAD_LETTER_DETAILS not in redriven.attributes
    assert (await letters(adapter)) == []
