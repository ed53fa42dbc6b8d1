"""Replay: forwarded events are sent again, and the proof that no state changed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from local.postgres import Postgres
from services.console.main import cli
from tests.console.letters import ended
from tests.console.operated import Operated, operated
from tests.console.test_lineage import invoiced
from tests.serving import DOWN, OPERATOR, SERVICE, Served, adapter_service, console_service, eventually
from tests.snsqs.relays import run
from tests.system.test_flow import completed_order, get, stock

DEMAND = "scm-demand-order-event-queue"
ORDERS = "scm-adapter-order-event-queue"

Json = dict[str, Any]

STAYS_HERE = """
[published.order]
OrderCompleted = []

[[route]]
id = "nothing-leaves-any-more"
source = "order"
type = "OrderCompleted"
hold_back = true
"""


GOES_ELSEWHERE = """
[published.order]
OrderCompleted = ["id"]

[[route]]
id = "completed-orders-to-no-queue"
source = "order"
type = "OrderCompleted"
topic = "no-listener"
"""

SENT_ONCE = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data, decided_at, decision)
    VALUES (gen_random_uuid(), 'OrderCompleted', $1, 1, now(), $2, now(), 'forwarded')
"""

LONG = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data, decided_at, decision)
    SELECT gen_random_uuid(), 'OrderCancelled', n::text, 1, now(), '{"source": {}, "occurenceOn": 1}', now(),
           'forwarded'
    FROM generate_series(1, 250) AS n
"""


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    """One for all tests here; each has orders of its own, and leaves it quiet."""
    async with operated(postgres_server, aws_server) as running:
        await stock(running.scm, mug=1_000)
        yield running


@pytest.fixture
async def order_id(system: Operated) -> str:
    """An order whose completion was handled on both of SCM's queues, and answered."""
    completed = await completed_order(system.order, mug=1)
    await eventually(lambda: invoiced(system.order, completed))

    async def is_handled() -> bool:
        received = (await get(system.scm, f"/orders/{completed}/events"))["received"]
        return {each["consumer"] for each in received} == {ORDERS, DEMAND}

    await eventually(is_handled)
    return completed


@pytest.fixture(scope="module")
async def long_log(system: Operated) -> int:
    """Cancellations that were sent once; the current routes hold them back, so SCM does not receive them."""
    await run(system.order.database, LONG)
    return 250


@asynccontextmanager
async def other_routes(system: Operated, database: str, routes_file: Path) -> AsyncIterator[Served]:
    """A console whose adapter has routes of its own."""
    async with (
        adapter_service(system.aws_url, routes_file=routes_file) as adapter,
        console_service(
            database, system.aws_url, *(each.registration for each in (system.order, system.scm, adapter))
        ) as console,
    ):
        yield console


async def begin(console: Served, selection: Json, **command: Any) -> Json:
    body = {"selection": selection} | command
    answer = await console.http.post("/api/replay", json=body, headers=OPERATOR)
    assert answer.status_code == 202, answer.text
    begun: Json = answer.json()
    assert answer.headers["location"] == f"/api/operations/{begun['id']}"
    return begun


async def replay(console: Served, selection: Json, **command: Any) -> Json:
    """Replay, and return the ended operation."""
    return await ended(console, await begin(console, selection, **command))


async def duplicates(system: Operated, order_id: str) -> dict[str, int]:
    """The deliveries about the order that SCM's inbox absorbed, by queue."""
    received = (await get(system.scm, f"/orders/{order_id}/events"))["received"]
    return {each["consumer"]: each["duplicates"] for each in received}


async def forget(system: Operated, consumer: str, order_id: str) -> None:
    """Delete the consumer's records of the order, as an inbox that loses them."""
    for table in ("inbox", "inbox_version"):
        forgotten = f"DELETE FROM {table} WHERE consumer = $1 AND subject = $2"
        await run(system.scm.database, forgotten, consumer, order_id)


async def test_a_replay_changes_nothing_and_proves_it(system: Operated, order_id: str) -> None:
    """Every consumer gets the event again, and absorbs it; its state is the same, number for number."""
    done = await replay(system.console, {"orderId": order_id})
    assert (done["status"], done["done"], done["failed"], done["error"]) == ("done", 1, 0, None)
    proof = done["proof"]
    assert (proof["absorbed"], proof["superseded"], proof["handled"], proof["outstanding"]) == (2, 0, 0, 0)
    [state] = proof["states"]
    assert (state["service"], state["changed"], proof["unchanged"]) == ("scm", [], True)
    assert state["checksumBefore"] == state["checksumAfter"]
    assert len(state["checksumBefore"]) == 64
    assert await duplicates(system, order_id) == {ORDERS: 1, DEMAND: 1}


async def test_a_replay_is_recorded_in_the_audit(system: Operated, order_id: str) -> None:
    """Before it begins, and with its outcome."""
    done = await replay(system.console, {"orderId": order_id}, perSecond=100)
    over, begun = await system.get("/api/audit", limit=2)
    assert (begun["who"], begun["what"], begun["step"]) == ("developer", "replay", "begun")
    assert (begun["on"], begun["dryRun"], begun["perSecond"]) == ("order event log", False, 100)
    assert begun["selection"]["orderId"] == order_id
    assert (over["step"], over["done"], over["proof"]) == ("ended", 1, done["proof"])


async def test_answers_are_replayed_too(system: Operated, order_id: str) -> None:
    """SCM's events, to the Order service; of several about one order, each is absorbed."""
    done = await replay(system.console, {"orderId": order_id}, service="scm")
    proof = done["proof"]
    assert ([each["service"] for each in proof["states"]], proof["unchanged"]) == (["order"], True)
    assert proof["absorbed"] == done["done"] >= 2
    assert [each["type"] for each in done["listed"]][:2] == ["StockReserved", "DeliveryInvoiceIssued"]


async def test_a_dry_run_counts_events_and_sends_nothing(system: Operated, order_id: str) -> None:
    """By type and rule. No checksum is taken of what is not touched."""
    done = await replay(system.console, {"orderId": order_id}, dryRun=True)
    assert (done["status"], done["selected"], done["done"]) == ("done", 1, 0)
    proof = done["proof"]
    assert proof["tallies"] == [
        {
            "type": "OrderCompleted",
            "decision": "forwarded",
            "rule": "completed-orders-to-scm",
            "events": 1,
        }
    ]
    assert (proof["states"], proof["unchanged"]) == ([], None)
    again = await replay(system.console, {"orderId": order_id})
    assert again["proof"]["absorbed"] == 2
    assert await duplicates(system, order_id) == {ORDERS: 1, DEMAND: 1}


@pytest.mark.parametrize(
    ("subject", "source", "reason"),
    [
        ("larger", {"id": "larger", "orderLines": [{"sku": "x" * 250_000}]}, "the limit is"),
        ("other", {"id": "another"}, "source.id is not the subject of the event, other"),
    ],
)
async def test_what_cannot_be_sent_fails_in_a_dry_run_too(
    system: Operated, subject: str, source: Json, reason: str
) -> None:
    """With the same reason, under the same rule."""
    data = json.dumps({"source": source, "occurenceOn": 1})
    await run(system.order.database, SENT_ONCE, subject, data)
    for dry_run in (True, False):
        done = await replay(system.console, {"orderId": subject}, dryRun=dry_run)
        [failed], [tally] = done["listed"], done["proof"]["tallies"]
        assert (done["failed"], tally["decision"], tally["rule"]) == (1, "failed", "completed-orders-to-scm")
        assert reason in failed["error"]


async def test_what_was_sent_is_selected(system: Operated, order_id: str) -> None:
    """By ids, type, order and time; what was held back was never sent, and is not now."""
    completed = (await get(system.order, f"/orders/{order_id}/events"))["published"][1]
    event_id, at = completed["id"], completed["occurredAt"]
    of_order: Json = {"orderId": order_id}
    for selection, count in (
        ({"ids": [event_id]}, 1),
        (of_order | {"type": "OrderCompleted"}, 1),
        (of_order | {"type": "OrderPlaced"}, 0),
        (of_order | {"from": at}, 1),
        (of_order | {"to": at}, 0),
        (of_order | {"from": "2999-01-01T00:00:00Z"}, 0),
        (of_order | {"to": "2999-01-01T00:00:00Z"}, 1),
    ):
        done = await replay(system.console, selection, dryRun=True)
        assert ([each["eventId"] for each in done["listed"]], done["error"]) == ([event_id] * count, None)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wrong_clock_of_the_service_hides_no_event(
    system: Operated, order_id: str, hours: int
) -> None:
    """Its events are from an hour ago, or in an hour: they are selected by their position."""
    await run(
        system.order.database,
        "UPDATE event_log SET occurred_at = occurred_at + make_interval(hours => $1) WHERE subject = $2",
        hours,
        order_id,
    )
    replayed = await replay(system.console, {"orderId": order_id})
    assert (replayed["expected"], replayed["done"], replayed["proof"]["unchanged"]) == (1, 1, True)


async def test_a_long_log_is_replayed_from_its_beginning(system: Operated, long_log: int) -> None:
    """Oldest first, page after page."""
    done = await replay(system.console, {"type": "OrderCancelled"}, dryRun=True)
    [tally] = done["proof"]["tallies"]
    assert done["expected"] == done["lookedAt"] == tally["events"] == long_log
    assert [int(each["orderId"]) for each in done["listed"]] == list(range(1, 101))


async def test_a_change_is_noticed(system: Operated, order_id: str) -> None:
    """An inbox that has lost its records: demand counts the order twice. The table that differs is named."""
    await forget(system, DEMAND, order_id)
    done = await replay(system.console, {"orderId": order_id})
    proof = done["proof"]
    assert (proof["absorbed"], proof["handled"], proof["unchanged"]) == (1, 1, False)
    [state] = proof["states"]
    assert state["checksumBefore"] != state["checksumAfter"]
    changes = {each["table"]: each["rowsAfter"] - each["rowsBefore"] for each in state["changed"]}
    assert changes == {"demand": 0, "inbox_version": 1}
    assert done["status"] == "done"
    assert done["error"].startswith("scm changed: demand, inbox_version")


async def test_events_that_the_current_routes_hold_back_are_not_sent(
    system: Operated, order_id: str, console_database: str, tmp_path: Path
) -> None:
    """They decide, not those of the first sending; the rule is named."""
    routes = tmp_path / "routes.toml"
    routes.write_text(STAYS_HERE)
    async with other_routes(system, console_database, routes) as console:
        done = await replay(console, {"orderId": order_id})
    assert (done["selected"], done["done"], done["proof"]["heldBack"]) == (1, 0, 1)
    [tally] = done["proof"]["tallies"]
    assert (tally["decision"], tally["rule"]) == ("held_back", "nothing-leaves-any-more")
    assert await duplicates(system, order_id) == {ORDERS: 0, DEMAND: 0}


async def test_without_a_consumer_nothing_is_proven(
    system: Operated, order_id: str, console_database: str, tmp_path: Path
) -> None:
    """Without a consumer there is no state that could have changed."""
    routes = tmp_path / "routes.toml"
    routes.write_text(GOES_ELSEWHERE)
    async with other_routes(system, console_database, routes) as console:
        done = await replay(console, {"orderId": order_id})
    assert (done["done"], done["proof"]["states"], done["proof"]["unchanged"]) == (1, [], None)
    assert done["error"] == "none of the services listens to such events"


async def test_a_replay_keeps_to_its_pace_and_is_cancelled(system: Operated, long_log: int) -> None:
    """Between two events. Meanwhile another replay of the log is rejected; and nothing is proven."""
    begun = await begin(system.console, {"type": "OrderCancelled"}, perSecond=0.5)

    async def has_sent() -> bool:
        return bool((await system.get(f"/api/operations/{begun['id']}"))["selected"])

    await eventually(has_sent)
    refusal = await system.post("/api/replay", {"selection": {"all": True}}, status=409)
    assert f"replay {begun['id']} of developer runs on order event log" in refusal["detail"]
    await system.post(f"/api/operations/{begun['id']}/cancel")
    done = await ended(system.console, begun)
    assert (done["status"], done["proof"]["unchanged"]) == ("cancelled", None)
    assert done["selected"] in (1, 2)


async def test_outstanding_deliveries_are_reported(system: Operated, order_id: str) -> None:
    """Then nothing is proven, and the wait has an end."""
    async with system.scm.database.transaction() as tx:
        await tx.connection.execute("SELECT FROM inbox WHERE subject = $1 FOR UPDATE", order_id)
        done = await replay(system.console, {"orderId": order_id}, waitSeconds=0.5)
    assert (done["status"], done["done"], done["proof"]["unchanged"]) == ("done", 1, None)
    assert done["error"] == "not settled: 2 deliveries outstanding, none came for 0.5 s"

    async def is_absorbed() -> bool:
        return await duplicates(system, order_id) == {ORDERS: 1, DEMAND: 1}

    await eventually(is_absorbed)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("away", ["order", "adapter", "scm"])
async def test_nothing_is_replayed_while_a_service_is_away(
    system: Operated, console_database: str, away: str, dry_run: bool
) -> None:
    """Neither without the log nor without a consumer; the missing service is named."""
    body = {"selection": {"all": True}, "dryRun": dry_run}
    services = {"order": system.order, "adapter": system.adapter, "scm": system.scm}
    registered = [
        service.registered_at(DOWN) if name == away else service.registration
        for name, service in services.items()
    ]
    async with console_service(console_database, system.aws_url, *registered) as console:
        answer = await console.http.post("/api/replay", json=body, headers=OPERATOR)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith(f"{away} at {DOWN}: ")


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        ({"selection": {}}, 422, "must have ids, type, orderId, from or to; or, for everything, only all"),
        ({"selection": {"all": True, "type": "OrderCompleted"}}, 422, "or, for everything, only all"),
        ({"selection": {"error": "x"}}, 422, "Extra inputs are not permitted"),
        ({"selection": {"from": "yesterday"}}, 422, "must be a time such as"),
        (
            {"selection": {"all": True}, "service": "shop"},
            404,
            "no service 'shop' has registered; registered: adapter, order, scm",
        ),
    ],
)
async def test_what_is_not_meant_so_is_not_replayed(
    system: Operated, command: Json, status: int, reason: str
) -> None:
    """Everything is only meant by `all`."""
    refusal = await system.post("/api/replay", command, status=status)
    assert reason in refusal["detail"]


async def test_only_operators_replay(system: Operated) -> None:
    """And the checksum, which costs something, is for operators and services."""
    for headers, status in (({}, 401), (SERVICE, 403)):
        answer = await system.console.http.post(
            "/api/replay", json={"selection": {"all": True}}, headers=headers
        )
        assert answer.status_code == status
    for headers, status in (({}, 401), (SERVICE, 200), (OPERATOR, 200)):
        answer = await system.scm.http.get("/reconciliation/checksum", headers=headers)
        assert answer.status_code == status


async def changed_by(service: Served, statement: str) -> set[str]:
    """The tables whose checksums a statement changes."""

    async def checksums() -> tuple[str, dict[str, Json]]:
        found = (await service.http.get("/reconciliation/checksum", headers=OPERATOR)).json()
        return found["checksum"], {each["table"]: each for each in found["tables"]}

    overall, before = await checksums()
    await run(service.database, statement)
    overall_after, after = await checksums()
    changed = {table for table in before.keys() | after.keys() if before.get(table) != after.get(table)}
    assert (overall != overall_after) == bool(changed)
    return changed


async def test_a_checksum_is_of_everything_that_is_stored(system: Operated, order_id: str) -> None:
    """Also a table that is added later; but not the records of deliveries."""
    for statement, tables in (
        ("INSERT INTO supply VALUES ('mug', 'potter')", {"supply"}),
        ("UPDATE supply SET supplier = 'kiln'", {"supply"}),
        ("DELETE FROM supply", {"supply"}),
        (f"UPDATE invoice SET issued_at = now() WHERE order_id = '{order_id}'", {"invoice"}),
        ('CREATE TABLE "a new ""table" (n integer)', {'a new "table'}),
        ('INSERT INTO "a new ""table" VALUES (1)', {'a new "table'}),
        ('DROP TABLE "a new ""table"', {'a new "table'}),
        ("UPDATE inbox SET duplicates = duplicates + 1", set[str]()),
        ("UPDATE event_log SET attempts = attempts + 1, rule = 'x', message_id = 'x'", set[str]()),
        (
            "INSERT INTO event_log (id, type, subject, sequence, occurred_at, data) "
            "VALUES (gen_random_uuid(), 'New', '1', 1, now(), '{\"source\": {}, \"occurenceOn\": 1}')",
            {"event_log"},
        ),
    ):
        assert await changed_by(system.scm, statement) == tables, statement


@pytest.mark.usefixtures("silence")
async def test_the_same_on_the_command_line(system: Operated, order_id: str) -> None:
    """Both checksums are printed; the exit code is 0 only when nothing changed."""

    async def command(*arguments: str) -> tuple[int, list[str], str]:
        env = {"CONSOLE_URL": system.console.url}
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["replay", *arguments], env=env)
        return result.exit_code, result.stdout.splitlines(), result.stderr

    code, printed, _ = await command("--order", order_id, "--dry-run")
    assert (code, printed[0]) == (0, "dry run: 1 of 1 scanned would be replayed")
    code, printed, _ = await command("--order", order_id, "--from", "2021-07-17T00:00:00Z")
    assert (code, printed[0]) == (0, "done: 1 of 1 replayed, 0 failed")
    assert [line.split() for line in printed[1:3]] == [
        ["type", "decision", "rule", "events"],
        ["OrderCompleted", "forwarded", "completed-orders-to-scm", "1"],
    ]
    before, after = (line.split()[2] for line in printed[4:6])
    assert (printed[3], before) == ("deliveries: 2 absorbed, 0 superseded, 0 handled, 0 outstanding", after)
    assert printed[6:] == ["nothing changed"]
    await forget(system, DEMAND, order_id)
    code, printed, _ = await command("--order", order_id)
    assert code == 1
    assert printed[-1].startswith("note: scm changed: demand, inbox_version")
    code, printed, errors = await command()
    assert (code, printed) == (2, [])
    assert (
        errors
        == "error: no selection: pass --id, --type, --order, --from or --to, or --all for all of them\n"
    )


async def test_a_replay_is_rejected_while_a_consumer_is_paused(system: Operated) -> None:
    """A replay is refused while one of its consumers is paused, before anything is sent; a dry run as well,
    which is to say what would be. (The last test of the system: the server may hand the next message to the
    call that was open then.)"""
    await system.post(f"/api/listeners/scm/{DEMAND}/pause")
    for dry_run in (True, False):
        body = {"selection": {"all": True}, "dryRun": dry_run}
        refusal = await system.post("/api/replay", body, status=409)
        assert refusal["detail"] == f"scm does not listen to {DEMAND}: resume it first"
    await system.post(f"/api/listeners/scm/{DEMAND}/resume")
