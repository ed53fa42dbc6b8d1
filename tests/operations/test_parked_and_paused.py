"""Parked events and paused listeners, over a service's REST API, the console and its command line."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from snsqs import Binding, ListenerContainer, QueueSettings, bindings
from snsqs.queues import ListenerQueues
from snsqs.testing import Faults, MemoryQueue, run_on_virtual_clock
from typer.testing import CliRunner

from local.postgres import Postgres
from services.console.main import cli
from tests.console.operated import Operated, operated
from tests.order.test_api import ORDER
from tests.serving import DOWN, OPERATOR, SERVICE, Served, console_service, eventually, serving
from tests.snsqs.queues import QUEUE, Recorder
from tests.system.test_flow import completed_order, stock

SCM_QUEUE = "scm-adapter-order-event-queue"


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    """One system for all tests of the module; each test has orders and articles of its own."""
    async with operated(postgres_server, aws_server) as running:
        yield running


async def park(service: Served, *, error: str = "SNS said no") -> tuple[str, str]:
    """Place an order whose event is parked, as after eight minutes of failures. Return the ids of the order
    and the event."""
    order_id: str = (await service.http.post("/orders", json=ORDER)).json()["id"]
    await eventually(lambda: decision_of(service, order_id))
    async with service.database.connection() as connection:
        event_id = await connection.fetchval(
            "UPDATE event_log SET decision = NULL, decided_at = NULL, attempts = 20, last_error = $2, "
            "parked_at = now() WHERE subject = $1 RETURNING id",
            order_id,
            error,
        )
    return order_id, str(event_id)


async def decision_of(service: Served, order_id: str) -> str | None:
    """Return the adapter's decision on the order's first event."""
    events = (await service.http.get(f"/orders/{order_id}/events")).json()["published"]
    decision: str | None = events[0]["decision"]
    return decision


async def parked_ids(system: Operated, **wanted: Any) -> set[str]:
    return {event["id"] for event in (await system.get("/api/parked", **wanted))["events"]}


async def test_parked_events_are_listed_and_resubmitted(system: Operated) -> None:
    """By ids, type, order or error. They are relayed at once, the others stay, and the audit names the
    operator."""
    (order_id, first), (another_id, second) = (
        await park(system.order),
        await park(system.order, error="100 %"),
    )
    assert await parked_ids(system) == await parked_ids(system, service="order") == {first, second}
    for wanted in ({"ids": first}, {"orderId": order_id}, {"error": "sns SAID"}):
        assert await parked_ids(system, **wanted) == {first}
    assert await parked_ids(system, service="scm") == await parked_ids(system, type="MemoWritten") == set()

    command = {"service": "order", "selection": {"error": "100 %"}}
    would = await system.post("/api/parked/resubmit", command | {"dryRun": True})
    assert (would["ids"], await parked_ids(system)) == ([second], {first, second})
    assert (await system.post("/api/parked/resubmit", command))["ids"] == [second]
    assert await eventually(lambda: decision_of(system.order, another_id)) == "held_back"
    assert await parked_ids(system) == {first}
    over, begun = await system.get("/api/audit", limit=2)
    assert (begun["step"], begun["who"], begun["what"], begun["on"]) == (
        "begun",
        "developer",
        "resubmit",
        "order",
    )
    assert (over["step"], over["events"], over["done"]) == ("ended", [second], 1)
    await system.post("/api/parked/resubmit", {"service": "order", "selection": {"all": True}})
    assert await eventually(lambda: decision_of(system.order, order_id)) == "held_back"


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        ({"service": "order", "selection": {}}, 422, "must have ids, type, orderId or error"),
        ({"service": "order", "selection": {"error": "\x00"}}, 422, "String should match pattern"),
        ({"service": "shop", "selection": {"all": True}}, 404, "no service 'shop' has registered"),
    ],
)
async def test_an_invalid_selection_resubmits_nothing(
    system: Operated, command: dict[str, Any], status: int, reason: str
) -> None:
    """Without criteria, with characters that PostgreSQL rejects, or for an unknown service."""
    refusal = await system.post("/api/parked/resubmit", command, status=status)
    assert reason in refusal["detail"]


async def test_only_operators_resubmit_and_pause(system: Operated) -> None:
    """Also directly at the services; the console forwards the operator's token."""
    selection = {"all": True}
    posts: list[tuple[Served, str, Any]] = [
        (system.order, "/parked/resubmit", selection),
        (system.scm, f"/listeners/{SCM_QUEUE}/pause", None),
        (system.scm, f"/listeners/{SCM_QUEUE}/resume", None),
        (system.console, "/api/parked/resubmit", {"service": "order", "selection": selection}),
        (system.console, f"/api/listeners/scm/{SCM_QUEUE}/pause", None),
    ]
    for service, path, body in posts:
        for headers, status in (({}, 401), (SERVICE, 403)):
            answer = await service.http.post(path, json=body, headers=headers)
            assert answer.status_code == status, path
    assert (await system.order.http.get("/parked", headers=SERVICE)).status_code == 200
    assert (await system.order.http.get("/parked")).status_code == 401


async def statuses(system: Operated) -> dict[str, tuple[str, str | None]]:
    found = (await system.get("/api/listeners"))["listeners"]
    return {each["queue"]: (each["status"], each["pausedBy"]) for each in found}


async def checks(service: Served) -> dict[str, str]:
    answer: dict[str, str] = (await service.http.get("/readyz")).json()["checks"]
    return answer


async def test_a_paused_listener_receives_nothing_until_it_is_resumed(system: Operated) -> None:
    """`/readyz` reports it while the service stays ready, and the list names the operator."""
    assert await statuses(system) == {
        "order-adapter-scm-event-queue": ("listening", None),
        SCM_QUEUE: ("listening", None),
        "scm-demand-order-event-queue": ("listening", None),
    }
    paused = await system.post(f"/api/listeners/scm/{SCM_QUEUE}/pause")
    assert (paused["service"], paused["status"], paused["pausedBy"]) == ("scm", "paused", "developer")
    await asyncio.sleep(0.6)  # what a call under way brings, half a second long, is still handled
    assert (await statuses(system))[SCM_QUEUE] == ("paused", "developer")
    ready = await system.scm.http.get("/readyz")
    assert (ready.status_code, ready.json()["checks"][SCM_QUEUE]) == (200, "paused")
    await stock(system.scm, mug=10)
    order_id = await completed_order(system.order, mug=2)

    async def demand_received() -> bool:
        """The consumer of the topic's other queue has the message, so both queues have received it."""
        events = (await system.scm.http.get(f"/orders/{order_id}/events")).json()["received"]
        return [each["consumer"] for each in events] == ["scm-demand-order-event-queue"]

    await eventually(demand_received)
    assert (await system.scm.http.get(f"/orders/{order_id}")).status_code == 404
    resumed = await system.post(f"/api/listeners/scm/{SCM_QUEUE}/resume")
    assert (resumed["status"], resumed["pausedBy"]) == ("listening", None)

    # One of two messages may have been leased for 30 s by the call that the pause cut short.
    order_ids = [order_id, await completed_order(system.order, mug=2)]

    async def one_is_handled() -> bool:
        answers = [await system.scm.http.get(f"/orders/{each}") for each in order_ids]
        return any(each.status_code == 200 for each in answers)

    await eventually(one_is_handled)
    assert [record["what"] for record in await system.get("/api/audit", limit=4)] == [
        "resume",
        "resume",
        "pause",
        "pause",
    ]


async def test_a_pause_applies_to_all_instances(system: Operated) -> None:
    """Those that run, and those started later: a restart must not resume a paused listener."""

    async def is_paused(scm: Served) -> bool:
        return (await checks(scm))[SCM_QUEUE] == "paused"

    async with system.another_scm() as second:
        await system.post(f"/api/listeners/scm/{SCM_QUEUE}/pause")
        await eventually(lambda: is_paused(second))
        async with system.another_scm() as third:
            assert await is_paused(third)
            answer = await third.http.post(f"/listeners/{SCM_QUEUE}/resume", headers=OPERATOR)
            assert answer.json()["status"] == "listening"

        async def all_listen() -> bool:
            return not (await is_paused(system.scm) or await is_paused(second))

        await eventually(all_listen)


async def test_an_unknown_listener_is_not_found(system: Operated) -> None:
    """And an unknown service."""
    refusal = await system.post("/api/listeners/scm/another-queue/pause", status=404)
    assert refusal["detail"].startswith("scm: no listener for queue another-queue; the queues are scm-")
    await system.post(f"/api/listeners/shop/{SCM_QUEUE}/pause", status=404)


async def test_an_unreachable_service_is_a_gap(system: Operated, console_database: str) -> None:
    """The others are listed all the same; commands for the service are rejected."""
    registered = system.order.registration, system.scm.registered_at(DOWN)
    async with console_service(console_database, system.aws_url, *registered) as console:
        for path, name in (("/api/parked", "events"), ("/api/listeners", "listeners")):
            found = (await console.http.get(path, headers=OPERATOR)).json()
            assert [gap["service"] for gap in found["gaps"]] == ["scm"]
            assert all(each["service"] == "order" for each in found[name])
        answer: httpx.Response = await console.http.post(
            f"/api/listeners/scm/{SCM_QUEUE}/pause", headers=OPERATOR
        )
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(f"scm at {DOWN}: ")
        over, _ = (await console.http.get("/api/audit", params={"limit": 2}, headers=OPERATOR)).json()
    assert (over["step"], over["what"]) == ("ended", "pause")
    assert "ConnectError" in over["error"]


@pytest.mark.parametrize(
    ("status", "text"),
    [(502, "<h1>Bad gateway</h1>"), (500, "[]"), (200, "fine"), (200, "[" * 100_000)],
    ids=["HTML", "no problem document", "no JSON", "deeply nested"],
)
async def test_a_service_with_an_unexpected_response_is_a_gap(
    system: Operated, console_database: str, status: int, text: str
) -> None:
    """Such as a proxy's error page. The reason names the status."""
    proxy = FastAPI()
    proxy.add_api_route("/listeners", lambda: Response(text, status))
    async with (
        serving(proxy) as served,
        console_service(
            console_database,
            system.aws_url,
            system.order.registered_at(served.url),
            system.scm.registration,
        ) as console,
    ):
        found = (await console.http.get("/api/listeners", headers=OPERATOR)).json()
    reason = f"order at {served.url}: HTTP {status}, unexpected response body"
    assert found["gaps"] == [{"service": "order", "reason": reason}]
    assert {each["service"] for each in found["listeners"]} == {"scm"}


async def test_the_same_on_the_command_line(system: Operated) -> None:
    """`parked` and `listeners`, and their exit codes."""

    async def command(*arguments: str) -> tuple[int, str]:
        env = {"CONSOLE_URL": system.console.url}
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)
        return result.exit_code, result.stdout

    def lines(printed: str) -> list[list[str]]:
        """Return the words of each line, without the log lines of the services in the same process."""
        return [line.split() for line in printed.splitlines() if not line.startswith("[")]

    order_id, event_id = await park(system.order)
    code, printed = await command("parked", "list", "--service", "order")
    heading, row = lines(printed)
    assert heading == ["id", "service", "type", "order", "attempts", "parked", "error"]
    assert (code, row[:5]) == (0, [event_id, "order", "OrderPlaced", order_id, "20"])
    code, printed = await command("parked", "resubmit", "--service", "order", "--id", event_id)
    assert (code, lines(printed)) == (0, [["resubmitted", "1"], [event_id]])
    for what, status in (("pause", "paused"), ("resume", "listening")):
        code, printed = await command("listeners", what, "scm", SCM_QUEUE)
        assert (code, lines(printed)[1][:3]) == (0, ["scm", SCM_QUEUE, status])
    code, printed = await command("listeners", "list")
    assert {row[2] for row in lines(printed)[1:]} == {"listening"}
    assert (await command("listeners", "pause", "scm", "another-queue"))[0] == 2


def test_a_listener_paused_before_it_is_connected_can_be_resumed() -> None:
    """A service that starts while its listener is paused and SQS is unavailable."""
    recorder = Recorder()

    class Source:
        settings = QueueSettings()
        is_away = True

        async def listener_queues(self, _: Binding) -> ListenerQueues:
            if self.is_away:
                raise ConnectionError("SQS is away")
            return ListenerQueues(MemoryQueue(QUEUE, Faults()), MemoryQueue(f"{QUEUE}-dlq", Faults()))

    async def story() -> list[str | None]:
        source = Source()
        container = ListenerContainer(source, *bindings(recorder.handlers))
        container.pause()
        running = asyncio.create_task(container.run())
        await asyncio.sleep(60)
        troubles = [container.degraded_reason]
        source.is_away = False
        container.resume()
        await asyncio.sleep(60)
        troubles.append(container.degraded_reason)
        assert not running.done()
        container.stop()
        await running
        return troubles

    assert run_on_virtual_clock(story()) == ["paused", None]
