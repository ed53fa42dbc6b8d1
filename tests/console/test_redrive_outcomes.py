"""A redrive ends with what the consumer did with each message."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from snsqs import Message
from snsqs.headers import ID

from local.postgres import Postgres
from tests.console.letters import DEAD_LETTERS, DeadLetterFixture, dead_letter_fixture, ended, letters
from tests.console.operated import Operated, operated
from tests.console.test_lineage import invoiced
from tests.serving import OPERATOR, eventually
from tests.snsqs.queues import message
from tests.system.test_flow import completed_order, stock


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    async with operated(postgres_server, aws_server) as running:
        await stock(running.scm, mug=100)
        yield running


@pytest.fixture
async def dead(system: Operated) -> DeadLetterFixture:
    return await dead_letter_fixture(system.aws)


async def redriven(system: Operated) -> dict[str, Any]:
    answer = await system.console.http.post(
        "/api/dead-letters/redrive",
        json={"queue": DEAD_LETTERS, "selection": {"all": True}},
        headers=OPERATOR,
    )
    assert answer.status_code == 202, answer.text
    return dict(await ended(system.console, answer.json()))


async def test_a_redrive_ends_with_the_outcome_of_each_message(
    system: Operated, dead: DeadLetterFixture
) -> None:
    """One that SCM has handled is absorbed; one that is no order event is a dead letter again, with the
    reason, and listed first."""
    order_id = await completed_order(system.order, mug=1)
    await eventually(lambda: invoiced(system.order, order_id))
    events = (await system.order.http.get(f"/orders/{order_id}/events")).json()["published"]
    [completed] = [each for each in events if each["type"] == "OrderCompleted"]
    await dead.add(message("OrderCompleted", order_id, 2, **{ID: completed["id"]}))
    await dead.add(Message("[]", message("OrderCompleted", "1", 1, **{ID: "malformed"}).headers))

    operation = await redriven(system)
    assert (operation["status"], operation["done"], operation["failed"]) == ("done", 2, 0)
    assert operation["outcomes"] == {"duplicate": 1, "dead_letter": 1}
    first, second = operation["listed"]
    assert (first["eventId"], first["outcome"]) == ("malformed", "dead_letter")
    assert first["error"].startswith("UndecodableMessage: ")
    assert (second["eventId"], second["outcome"], second["error"]) == (completed["id"], "duplicate", None)


async def test_the_audit_keeps_a_discarded_message(system: Operated, dead: DeadLetterFixture) -> None:
    """Its body and attributes: nothing else has them any more."""
    await dead.add(Message('{"source": 7}', message("OrderCompleted", "1", 1, **{ID: "discarded"}).headers))

    async def is_there() -> Any:
        return [each for each in await letters(system.console) if each["eventId"] == "discarded"]

    await eventually(is_there)
    body = {"queue": DEAD_LETTERS, "selection": {"ids": ["discarded"]}}
    answer = await system.console.http.post("/api/dead-letters/discard", json=body, headers=OPERATOR)
    await ended(system.console, answer.json())
    records = (await system.console.http.get("/api/audit", params={"limit": 5}, headers=OPERATOR)).json()
    [letter] = next(each["letters"] for each in records if each["step"] == "moving")
    assert letter["body"] == '{"source": 7}'
    assert letter["attributes"]["ce-id"] == "discarded"
