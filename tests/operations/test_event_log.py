"""REST API of the event log: search criteria, pages, cost of a page, access."""

import itertools
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import pytest
from snsqs.postgres import Database

from local.ports import HOST
from local.postgres import Postgres
from services.order.events import MemoWritten, OrderPlaced
from shared.operations.event_search import CUSTOM_PLAN, NEWEST_FIRST, OLDEST_FIRST, Search, State
from tests.conftest import fresh_database
from tests.order.test_api import ORDER
from tests.serving import OPERATOR, SERVICE, Served, order_service
from tests.snsqs.relays import ORDER_ID, append, run

ANOTHER_ID = "20210717235959000001"


@pytest.fixture(scope="module")
async def order(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Served]:
    """One service for all tests of the module, without an adapter: waiting events keep waiting."""
    async with (
        fresh_database(postgres_server, "template_order") as url,
        order_service(url, aws_server, f"http://{HOST}:1") as served,
    ):
        yield served


@pytest.fixture
async def log(order: Served) -> Database:
    """The service's database, with no events in it."""
    database = order.database
    await run(database, "TRUNCATE event_log")
    return database


async def page(service: Served, **criteria: object) -> dict[str, Any]:
    params = {name: str(value) for name, value in criteria.items()}
    answer = await service.http.get("/event-log", params=params, headers=SERVICE)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def versions(service: Served, **criteria: object) -> list[int]:
    return [event["sequence"] for event in (await page(service, **criteria))["events"]]


async def test_an_event_is_returned_with_data_and_state(order: Served, log: Database) -> None:
    """Everything an operator needs about a stuck event, and the data as routes see it."""
    await append(log)
    await run(log, "UPDATE event_log SET attempts = 20, last_error = 'no', parked_at = now()")
    [event] = (await page(order))["events"]
    assert event["data"]["source"] | ORDER == event["data"]["source"]
    assert (event["type"], event["subject"], event["sequence"]) == ("OrderPlaced", ORDER_ID, 1)
    assert (event["attempts"], event["lastError"], event["decision"]) == (20, "no", None)
    assert datetime.fromisoformat(event["parkedAt"]) >= datetime.fromisoformat(event["occurredAt"])
    assert event.keys() == {
        *("position", "id", "type", "subject", "sequence", "occurredAt", "relayedAt", "decidedAt"),
        *(
            "decision",
            "rule",
            "messageId",
            "attempts",
            "lastError",
            "parkedAt",
            "traceparent",
            "tracestate",
            "cause",
            "data",
        ),
    }


async def test_every_event_is_on_one_page_newest_first(order: Served, log: Database) -> None:
    """Also when more are published meanwhile. `next` and the Link header lead to the following page."""
    await append(log, 7)
    first = await order.http.get("/event-log", params={"limit": 3}, headers=OPERATOR)
    await append(log, 2, ANOTHER_ID)
    second = await order.http.get(first.links["next"]["url"], headers=OPERATOR)
    third = await page(order, limit=3, after=second.json()["next"])
    found = [event for each in (first.json(), second.json(), third) for event in each["events"]]
    assert [event["sequence"] for event in found] == [7, 6, 5, 4, 3, 2, 1]
    assert third["next"] is None


async def test_the_log_is_read_oldest_first(order: Served, log: Database) -> None:
    """Page by page, with the same cursor; events published meanwhile come last."""
    await append(log, 3)
    first = await page(order, limit=2, oldestFirst=True)
    await append(log, 1, ANOTHER_ID)
    second = await page(order, limit=2, oldestFirst=True, after=first["next"])
    assert [event["sequence"] for each in (first, second) for event in each["events"]] == [1, 2, 3, 1]
    assert second["next"] is None


async def test_events_are_found_by_their_ids(order: Served, log: Database) -> None:
    """Several at a time."""
    await append(log, 3)
    ids = [event["id"] for event in (await page(order))["events"]]
    answer = await order.http.get("/event-log", params={"ids": [ids[0], ids[2]]}, headers=SERVICE)
    assert [event["sequence"] for event in answer.json()["events"]] == [3, 1]


async def test_found_events_are_counted(order: Served, log: Database) -> None:
    """On all pages."""
    await append(log, 3)
    await append(log, 2, ANOTHER_ID)
    for asked, events in (({}, 5), ({"orderId": ANOTHER_ID}, 2), ({"type": "NoSuchThing"}, 0)):
        answer = await order.http.get("/event-log/count", params=asked, headers=SERVICE)
        assert answer.json() == {"events": events}
    assert (await order.http.get("/event-log/count")).status_code == 401


async def test_events_are_found_by_type_and_order(order: Served, log: Database) -> None:
    """Alone and together."""
    await append(log, 2)
    await append(log, 3, ANOTHER_ID, MemoWritten)
    await append(log, 1, ANOTHER_ID, OrderPlaced)
    assert await versions(order, type="OrderPlaced") == [1, 2, 1]
    assert await versions(order, orderId=ANOTHER_ID) == [1, 3, 2, 1]
    assert await versions(order, orderId=ANOTHER_ID, type="MemoWritten") == [3, 2, 1]
    assert await versions(order, type="NoSuchThing") == []


@pytest.mark.parametrize(
    ("decision", "version"), [("forwarded", 1), ("held_back", 2), ("parked", 3), ("waiting", 4)]
)
async def test_events_are_found_by_state(order: Served, log: Database, decision: str, version: int) -> None:
    """By the adapter's decision, or as waiting or parked without one."""
    await append(log, 4)
    await run(log, "UPDATE event_log SET parked_at = now() WHERE sequence = 3")
    await run(
        log,
        "UPDATE event_log SET decided_at = now(), "
        "decision = (ARRAY['forwarded', 'held_back'])[sequence] WHERE sequence < 3",
    )
    assert await versions(order, decision=decision) == [version]


async def test_events_are_found_by_their_time(order: Served, log: Database) -> None:
    """From a time on, and before one; also an event logged slightly out of order."""
    await append(log, 4)
    for version, minute in enumerate((0, 4, 1, 59), start=1):
        at = datetime(2026, 1, 1, 10, minute, tzinfo=UTC)
        await run(log, "UPDATE event_log SET occurred_at = $1 WHERE sequence = $2", at, version)
    assert await versions(order, **{"from": "2026-01-01T10:02:00Z"}) == [4, 2]
    assert await versions(order, to="2026-01-01T10:04:00Z") == [3, 1]
    assert await versions(order, **{"from": "2026-01-01T19:01:00+09:00", "to": "2026-01-01T10:59:00Z"}) == [
        3,
        2,
    ]


async def test_a_period_is_that_of_the_clock_that_published(order: Served, log: Database) -> None:
    """One instance's clock is an hour ahead, another's an hour behind: times go back and forth along the log,
    and no event of a period is missed on any page."""
    await append(log, 9)
    for version in range(1, 10):
        hour = (11, 9, 10)[version % 3]
        at = datetime(2026, 1, 1, hour, version, tzinfo=UTC)
        await run(log, "UPDATE event_log SET occurred_at = $1 WHERE sequence = $2", at, version)
    for hour, expected in ((9, [7, 4, 1]), (10, [8, 5, 2]), (11, [9, 6, 3])):
        period = {"from": f"2026-01-01T{hour:02}:00:00Z", "to": f"2026-01-01T{hour + 1:02}:00:00Z"}
        assert await versions(order, **period) == expected
        assert await versions(order, **period, limit="2") == expected[:2]
        assert await versions(order, **period, oldestFirst="true") == expected[::-1]
        counted = await order.http.get("/event-log/count", params=period, headers=OPERATOR)
        assert counted.json() == {"events": 3}
    assert await versions(order, to="2026-01-01T10:00:00Z") == [7, 4, 1]
    assert await versions(order, **{"from": "2026-01-01T11:00:00Z"}) == [9, 6, 3]


async def test_a_search_ends_at_a_position(order: Served, log: Database) -> None:
    """Inclusive, whatever the times of the events are."""
    await append(log, 4)
    positions = [each["position"] for each in (await page(order))["events"]]
    assert await versions(order, upTo=str(positions[1])) == [3, 2, 1]
    counted = await order.http.get("/event-log/count", params={"upTo": positions[1]}, headers=OPERATOR)
    assert counted.json() == {"events": 3}
    assert await versions(order, upTo="0") == []


@pytest.mark.parametrize(
    "asked",
    [
        {"upTo": "-1"},
        {"limit": "501"},
        {"limit": "0"},
        {"after": "9223372036854775808"},
        {"decision": "maybe"},
        {"from": "2026-01-01T00:00:00"},
        {"to": "1767225600"},
        {"ids": "1"},
        {"orderId": "\x00"},
        {"type": "x" * 257},
    ],
)
async def test_invalid_criteria_are_rejected(order: Served, asked: dict[str, str]) -> None:
    """422, as problem details that name the parameter."""
    answer = await order.http.get("/event-log", params=asked, headers=OPERATOR)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(asked)) in answer.json()["detail"]


async def test_the_log_is_for_services_and_operators_only(order: Served, log: Database) -> None:
    """Its data contains buyers' names and phone numbers; all other reads are public."""
    for headers, status in ((OPERATOR, 200), (SERVICE, 200), ({}, 401), ({"authorization": "Bearer x"}, 401)):
        answer = await order.http.get("/event-log", headers=headers)
        assert answer.status_code == status
    document = (await order.http.get("/openapi.json")).json()
    assert document["paths"]["/event-log"]["get"]["security"] == [{"serviceToken": []}, {"operatorToken": []}]


FILL = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data, decided_at, decision)
    SELECT gen_random_uuid(), CASE WHEN n = 7 THEN 'Rare' ELSE 'Common' END, n::text, 1,
           '2026-01-01Z'::timestamptz + make_interval(mins => n), '{}', now(),
           CASE WHEN n = 9 THEN 'held_back' ELSE 'forwarded' END
    FROM generate_series(1, 20000) AS n
"""

SEARCHES = [
    Search(),
    Search(type="Rare"),
    Search(type="Nothing"),
    Search(subject="7"),
    Search(decision=State.HELD_BACK),
    Search(decision=State.PARKED),
    Search(decision=State.WAITING),
    Search(ids=[uuid.uuid4()]),
    Search(until=datetime(2026, 1, 1, 1, tzinfo=UTC)),
    Search(since=datetime(2026, 1, 2, tzinfo=UTC), until=datetime(2026, 1, 2, 1, tzinfo=UTC)),
    Search("Common", decision=State.FORWARDED, until=datetime(2026, 1, 1, 12, tzinfo=UTC)),
]


async def test_a_page_costs_little_however_long_the_log_is(log: Database) -> None:
    """A page reads few of the blocks that 20,000 events fill; one of a period reads that period. Counted
    instead of timed, so that the speed of the machine does not matter."""
    await run(log, FILL)
    await run(log, "ANALYZE event_log")
    [[blocks]] = await run(log, "SELECT pg_relation_size('event_log') / 8192")
    for asked, statement in itertools.product(SEARCHES, (NEWEST_FIRST, OLDEST_FIRST)):
        async with log.transaction() as tx:
            await tx.connection.execute(CUSTOM_PLAN)
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            [[plan]] = await tx.connection.fetch(explain, *astuple(asked), None, 100)
        top = json.loads(plan)[0]["Plan"]
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < blocks / 10, (asked, plan)


async def test_scm_has_the_same_log(scm: Served) -> None:
    """It belongs to the outbox, so every publishing service has it."""
    assert await page(scm) == {"events": [], "next": None}
