"""The stations: waiting messages, rates, and the cost of observation."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import connect

from services.console.queues import QueueFinder
from services.console.registry import Registry
from services.console.watch import Depths, Live, Stations
from shared.runtime.background import BackgroundLoops
from tests.console.test_lineage import invoiced
from tests.console.test_live import watching
from tests.serving import DOWN, OPERATOR, Served, console_service, eventually, serving
from tests.snsqs.relays import locked, run
from tests.system.systems import System
from tests.system.test_flow import completed_order, get, stock

ORDERS = "scm-adapter-order-event-queue"


async def stations(console: Served) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in (await get(console, "/api/stations"))["stations"]}


async def services(console: Served) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in (await get(console, "/api/stations"))["services"]}


async def test_every_station_is_shown_with_the_next(system: System) -> None:
    """From each relay over adapter, topic, queue and listener to the other service's relay; and each
    queue to its dead letters."""
    found = await stations(system.console)
    for relay, way in {
        "relay:order": [
            "adapter",
            "topic:order-events",
            f"queue:{ORDERS}",
            f"listener:{ORDERS}",
            "relay:scm",
        ],
        "relay:scm": [
            "adapter",
            "topic:scm-events",
            "queue:order-adapter-scm-event-queue",
            "listener:order-adapter-scm-event-queue",
            "relay:order",
        ],
    }.items():
        station = found[relay]
        for following in way:
            assert following in station["feeds"]
            station = found[following]
    assert f"queue:{ORDERS}-dlq" in found[f"queue:{ORDERS}"]["feeds"]
    assert {each["status"] for each in found.values()} == {"up"}
    assert {name: each["status"] for name, each in (await services(system.console)).items()} == {
        "order": "up",
        "scm": "up",
        "adapter": "up",
    }


async def test_stations_count_what_passes_them(system: System) -> None:
    """Relays by decision, listeners by outcome, both since their process started; and how fast."""
    before = await stations(system.console)
    await stock(system.scm, mug=10)
    order_id = await completed_order(system.order, mug=2)
    await eventually(lambda: invoiced(system.order, order_id))

    async def are_counted() -> bool:
        now = await stations(system.console)
        return grown("relay:order", now) == {"forwarded": 1, "held_back": 1} and grown(
            f"listener:{ORDERS}", now
        ) == {"handled": 1}

    def grown(station: str, now: dict[str, dict[str, Any]]) -> dict[str, int]:
        known = before[station]["counts"]
        return {name: count - known.get(name, 0) for name, count in now[station]["counts"].items()}

    await eventually(are_counted)
    found = await stations(system.console)
    assert found["relay:order"]["perMinute"] >= 2
    assert found["relay:order"]["perSecond"] > 0
    assert found[f"listener:{ORDERS}"]["handlers"]["OrderCompleted"].startswith("services.scm.listener.")


async def test_what_waits_is_shown_where_it_waits(system: System) -> None:
    """At the listener and in its queue while it is handled, among the dead letters, and in the outbox, with
    its age there."""
    url = (await system.aws.sqs.get_queue_url(QueueName=f"{ORDERS}-dlq"))["QueueUrl"]
    await system.aws.sqs.send_message(QueueUrl=url, MessageBody="dead")
    await run(
        system.order.database,
        "INSERT INTO event_log (id, type, subject, sequence, occurred_at, data, next_attempt_at) "
        "VALUES (gen_random_uuid(), 'OrderPlaced', '1', 1, now() - interval '1 hour', '{}', 'infinity')",
    )
    async with locked(system.scm_database, "stock"):
        await completed_order(system.order, mug=1)

        async def wait() -> bool:
            found = await stations(system.console)
            in_flight = [found[f"{kind}:{ORDERS}"]["inFlight"] for kind in ("queue", "listener")]
            waiting = [found[name]["waiting"] for name in (f"queue:{ORDERS}-dlq", "relay:order")]
            return in_flight + waiting == [1, 1, 1, 1]

        await eventually(wait)
    assert 3600 <= (await stations(system.console))["relay:order"]["oldestSeconds"] < 3700


async def test_a_service_that_is_down_is_shown_with_the_reason(
    system: System, console_database: str, aws_server: str
) -> None:
    """The answer is 200, and the stations that it registered are down with it."""
    registered = [each.registered_at(DOWN) for each in (system.scm, system.adapter)]
    async with console_service(console_database, aws_server, *registered) as console:
        assert (await services(console))["scm"]["status"] == "down"
        assert "ConnectError" in (await services(console))["scm"]["trouble"]
        found = await stations(console)
    relay, listener = found["relay:scm"], found[f"listener:{ORDERS}"]
    assert (relay["status"], relay["waiting"], relay["feeds"]) == ("down", None, ["adapter"])
    assert (listener["status"], listener["feeds"]) == ("down", ["relay:scm"])


async def test_without_sns_and_sqs_the_rest_is_shown(system: System, console_database: str) -> None:
    """Neither an error, nor a long wait."""
    async with (
        asyncio.timeout(15),
        console_service(console_database, DOWN, system.order.registration) as console,
    ):
        assert (await stations(console))["relay:order"]["status"] == "up"


async def test_settled_messages_are_streamed(system: System) -> None:
    """A little later than it happens, with handler, outcome and times."""
    await stock(system.scm, mug=10)
    async with watching(system.console) as viewer:
        await eventually(lambda: viewer.has(1, "station"))
        order_id = await completed_order(system.order, mug=1)

        async def is_streamed() -> dict[str, Any] | None:
            found = viewer.all("settled")
            return next(
                (each for each in found if (each["orderId"], each["queue"]) == (order_id, ORDERS)), None
            )

        settled = await eventually(is_streamed)
    assert (settled["service"], settled["type"], settled["outcome"]) == ("scm", "OrderCompleted", "handled")
    assert settled["handler"].startswith("services.scm.listener.")
    assert settled["receivedAt"] < settled["settledAt"]


class Counted:
    """A service that counts the requests for its progress, and has none."""

    def __init__(self) -> None:
        self.requests = 0
        self.takes = 0.0
        self.app = FastAPI()
        self.app.add_api_route("/progress", self.progress)

    async def progress(self) -> Response:
        self.requests += 1
        await asyncio.sleep(self.takes)
        return Response("{}")


@pytest.fixture
async def counted(system: System, console_database: str) -> AsyncIterator[tuple[Counted, Live, Stations]]:
    """Stations that poll a hundred times a second."""
    counting, live = Counted(), Live()
    async with (
        serving(counting.app) as served,
        connect(console_database, ApplicationEventPublisher([])) as database,
        httpx.AsyncClient() as http,
    ):
        registry = Registry(database, http, {})
        await registry.register(system.order.registered_at(served.url))
        depths = Depths(QueueFinder(system.aws, registry))
        stations = Stations(registry, depths, live, max_age=0.01)
        async with BackgroundLoops().running(live, stations):
            yield counting, live, stations


async def test_services_are_not_polled_without_a_client(counted: tuple[Counted, Live, Stations]) -> None:
    """Not before the first client, and not after the last."""
    counting, live, _ = counted

    async def is_polled() -> bool:
        return counting.requests >= 3

    await asyncio.sleep(0.1)
    assert counting.requests == 0
    with live.stream(None):
        await eventually(is_polled)
    await asyncio.sleep(0.05)  # what was under way
    before = counting.requests
    await asyncio.sleep(0.1)
    assert counting.requests == before


async def test_concurrent_requests_cost_one_poll(counted: tuple[Counted, Live, Stations]) -> None:
    """They wait for the same answer, however long it takes."""
    counting, _, stations = counted
    counting.takes = 0.1
    await asyncio.gather(*(stations.now() for _ in range(50)))
    assert counting.requests < 5


async def test_a_paused_listener_is_shown_as_that(system: System) -> None:
    """It is not down: an operator paused it. (The last test of the system: the server may hand the next
    message to the call that was open when the listener paused.)"""

    async def request_to(step: str) -> None:
        answer = await system.scm.http.post(f"/listeners/{ORDERS}/{step}", headers=OPERATOR)
        answer.raise_for_status()

    async def is_shown(status: str) -> bool:
        return bool((await stations(system.console))[f"listener:{ORDERS}"]["status"] == status)

    await request_to("pause")
    await eventually(lambda: is_shown("paused"))
    await request_to("resume")
    await eventually(lambda: is_shown("up"))
