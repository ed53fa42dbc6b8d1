"""What people see while it happens: the stream of events, the stations, and what looking costs."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from local.ports import HOST, free_ports
from local.postgres import Postgres
from services.console.watch import Live, router
from services.console.watch.live import LiveOptions
from shared.runtime.background import BackgroundLoops
from shared.web import Components, add_problem_handlers
from tests.adapter.test_adapter import event, send
from tests.conftest import fresh_database
from tests.serving import Served, adapter_service, console_service, eventually, serving


@dataclass
class Viewer:
    """One who watches, and what was seen so far."""

    response: httpx.Response
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    last_id: str = ""
    comments: int = 0

    async def watch(self) -> None:
        name = ""
        async for line in self.response.aiter_lines():
            key, _, value = line.partition(": ")
            match key:
                case "id":
                    self.last_id = value
                case "event":
                    name = value
                case "data":
                    self.seen.append((name, json.loads(value)))
                case _ if line.startswith(":"):
                    self.comments += 1

    def all(self, name: str) -> list[dict[str, Any]]:
        return [data for seen, data in self.seen if seen == name]

    async def has(self, count: int, name: str = "decision") -> bool:
        return len(self.all(name)) >= count


@asynccontextmanager
async def watching(service: Served, last_id: str = "") -> AsyncIterator[Viewer]:
    """Watches until the body ends, or the stream does."""
    headers = {"last-event-id": last_id} if last_id else {}
    async with service.http.stream("GET", "/api/live", headers=headers, timeout=30) as response:
        assert response.status_code == 200
        viewer = Viewer(response)
        task = asyncio.create_task(viewer.watch())
        try:
            yield viewer
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture(scope="module")
async def adapter(aws_server: str) -> AsyncIterator[Served]:
    async with adapter_service(aws_server) as served:
        yield served


@pytest.fixture(scope="module")
async def console(postgres_server: Postgres, aws_server: str, adapter: Served) -> AsyncIterator[Served]:
    """A console without the other services."""
    async with (
        fresh_database(postgres_server, "template_console") as database_url,
        console_service(database_url, aws_server, adapter.registration) as served,
    ):
        yield served


@dataclass(frozen=True)
class Told:
    """Something to tell."""

    number: int


@asynccontextmanager
async def telling(**options: Any) -> AsyncIterator[tuple[Live, Served]]:
    """A stream with bounds that a test can reach, and nothing else."""
    app = FastAPI()
    add_problem_handlers(app)
    live = Live(LiveOptions(**options))
    app.state.components = Components(live)
    app.include_router(router)
    async with serving(app) as served, BackgroundLoops().running(live):
        yield live, served


async def test_a_decision_is_told_when_it_is_made(adapter: Served, console: Served) -> None:
    """With everything that a person asks: which event of which order, by which rule, where to, as what."""
    given = event()
    async with watching(console) as viewer:
        await eventually(lambda: viewer.has(1, "station"))
        [result] = await send(adapter, given)
        await eventually(lambda: viewer.has(1))
        [bad] = await send(adapter, event(sequence="two"))
        await eventually(lambda: viewer.has(2))
    forwarded, failed = viewer.all("decision")
    assert forwarded == {
        "eventId": given["id"],
        "type": "OrderCompleted",
        "orderId": "1",
        "source": "order",
        "decision": "forwarded",
        "rule": "completed-orders-to-scm",
        "topic": "order-events",
        "messageId": result["messageId"],
        "error": None,
        "at": result["decidedAt"],
    }
    assert (failed["decision"], failed["error"]) == ("failed", bad["error"])


async def test_who_comes_back_is_told_what_was_missed_and_nothing_twice(
    adapter: Served, console: Served
) -> None:
    """With the id of the last event that was seen, as browsers send it."""
    async with watching(console) as before:
        await eventually(lambda: before.has(1, "station"))
        first = event()
        await send(adapter, first)
        await eventually(lambda: before.has(1))
    missed = [event("MemoWritten"), event("OrderPlaced")]
    await send(adapter, *missed)
    async with watching(console, before.last_id) as after:
        await eventually(lambda: after.has(2))
        last = event()
        await send(adapter, last)
        await eventually(lambda: after.has(3))
    told = [each["eventId"] for viewer in (before, after) for each in viewer.all("decision")]
    assert told == [each["id"] for each in (first, *missed, last)]
    assert after.all("gap") == []


async def test_who_comes_back_too_late_is_told_how_much_is_lost() -> None:
    """And then what is still remembered."""
    async with telling(max_entries=10) as (live, served):
        async with watching(served) as before:
            live.publish("told", Told(0))
            await eventually(lambda: before.has(1, "told"))
        for number in range(1, 31):
            live.publish("told", Told(number))
        async with watching(served, before.last_id) as after:
            await eventually(lambda: after.has(10, "told"))
    assert after.all("gap") == [{"missed": 20}]
    assert [each["number"] for each in after.all("told")] == list(range(21, 31))


@pytest.mark.parametrize("last_id", ["0123abcd-7", "nonsense", "-", "9" * 5000])
async def test_an_id_of_another_process_is_a_gap_of_unknown_size(last_id: str) -> None:
    """The console was restarted, or another instance answers; what comes next is told all the same."""
    async with telling() as (live, served), watching(served, last_id) as viewer:
        await eventually(lambda: viewer.has(1, "gap"))
        live.publish("told", Told(1))
        await eventually(lambda: viewer.has(1, "told"))
    assert viewer.all("gap") == [{"missed": None}]


async def test_a_viewer_that_falls_behind_has_to_come_again_and_holds_nobody_up() -> None:
    """The others see everything. What it had not seen is forgotten, so its stream ends."""
    async with telling(min_interval=0.01, max_entries=200) as (live, served), not_reading(served) as slow:
        async with watching(served) as viewer:
            await tell_much(live, viewer)
        assert [each["number"] for each in viewer.all("told")] == list(range(MANY))
        rest = await slow.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert rest.count(b"event: told") < MANY


async def test_a_viewer_that_never_reads_is_dropped() -> None:
    """Its place is free again, although it has not noticed."""
    async with (
        telling(min_interval=0.01, send_timeout=0.2, max_viewers=2) as (live, served),
        not_reading(served),
        watching(served) as viewer,
    ):
        await tell_much(live, viewer)
        await eventually(lambda: is_let_in(served))


async def is_let_in(served: Served) -> bool:
    async with served.http.stream("GET", "/api/live") as response:
        return response.status_code == 200


MANY = 1_000


async def tell_much(live: Live, viewer: Viewer) -> None:
    """20 MB, more than any buffer on the way takes, as fast as the viewer reads."""
    for number in range(MANY):
        live.publish("told", Large(number, "x" * 20_000))
        if number % 100 == 99:
            await eventually(partial(viewer.has, number + 1, "told"))


@asynccontextmanager
async def not_reading(served: Served) -> AsyncIterator[asyncio.StreamReader]:
    """A viewer that reads nothing, until the body does."""
    reader, writer = await asyncio.open_connection(HOST, served.port, limit=65_536)
    writer.write(f"GET /api/live HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
    await reader.readuntil(b"retry: 2000")
    try:
        yield reader
    finally:
        writer.close()


@dataclass(frozen=True)
class Large:
    """Something long to tell."""

    number: int
    text: str


async def test_only_so_many_may_watch() -> None:
    """One more is refused with 503, and let in once somebody has left."""
    async with telling(max_viewers=2) as (_, served), watching(served):
        async with watching(served):
            refused = await served.http.get("/api/live")
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["retry-after"]

        async def is_let_in() -> bool:
            async with served.http.stream("GET", "/api/live") as response:
                return response.status_code == 200

        await eventually(is_let_in)


async def test_one_client_may_not_take_all_streams() -> None:
    """The streams to one address are limited; another one is still let in."""
    async with telling(max_viewers_per_client=2) as (live, served), watching(served), watching(served):
        refused = await served.http.get("/api/live")
        assert refused.status_code == 503
        assert refused.json()["detail"] == "127.0.0.1 has reached the limit of 2 streams; close one"
        with live.stream(None, "198.51.100.7"):
            pass


async def test_a_silent_stream_says_that_it_lives() -> None:
    """With comments, which browsers pass over and proxies do not."""
    async with telling(heartbeat_interval=0.02) as (_, served), watching(served) as viewer:

        async def is_alive() -> bool:
            return viewer.comments >= 3

        await eventually(is_alive)
    assert viewer.seen == []


async def test_many_events_come_in_few_pieces() -> None:
    """Viewers are woken at a pace, however many events there are."""
    async with (
        telling(min_interval=0.2) as (live, served),
        served.http.stream("GET", "/api/live", timeout=30) as response,
    ):
        pieces = response.aiter_bytes()
        await anext(pieces)
        text, count = b"", 0
        for number in range(500):
            live.publish("told", Told(number))
            await asyncio.sleep(0)
        while b'"number":499' not in text:
            text, count = text + await anext(pieces), count + 1
    assert text.count(b"event: told") == 500
    assert count < 20


async def test_each_viewer_is_told_what_it_has_not_seen() -> None:
    """However far the others are, who are given the same bytes where they are as far; and a state only as
    it is now, also when everybody had left in between."""
    async with telling(min_interval=0.01) as (live, served):
        async with watching(served) as first, watching(served) as second:
            live.set_state("state", "key", Told(1))
            live.publish("told", Told(1))
            await eventually(partial(first.has, 1, "told"))
            async with watching(served) as third:
                live.publish("told", Told(2))
                for viewer, count in ((first, 2), (second, 2), (third, 1)):
                    await eventually(partial(viewer.has, count, "told"))
            assert first.seen == second.seen
            assert third.seen == [("state", {"number": 1}), ("told", {"number": 2})]
        async with watching(served) as another:
            live.set_state("state", "key", Told(2))
            await eventually(partial(another.has, 1, "state"))
            async with watching(served) as guest:
                await eventually(partial(guest.has, 1, "state"))
        async with watching(served) as later:
            live.publish("told", Told(3))
            await eventually(partial(later.has, 1, "told"))
        assert later.seen == [("told", {"number": 3})]


async def test_the_process_stops_at_once_although_somebody_watches(
    console_database: str, aws_server: str
) -> None:
    """The stream ends, and the console with it: well within the five seconds that requests are given."""
    [port] = free_ports(1)
    environment = {
        "ENVIRONMENT": "development",
        "PORT": str(port),
        "DATABASE_URL": console_database,
        "AWS_ENDPOINT_URL": aws_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.console", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    while b"serving" not in await process.stdout.readline():
        pass
    async with (
        asyncio.timeout(60),
        httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as http,
        http.stream("GET", "/api/live") as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            async for _ in lines:
                pass
            output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"graceful" not in output
