"""Real processes: start, refusal to start, sudden end and shutdown."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from fastapi import FastAPI, Request, Response

from local.ports import HOST, Ports
from local.postgres import Postgres
from local.services import variable
from local.system import LocalSystem, running_system
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, development_token
from tests.order.test_api import ORDER
from tests.serving import OPERATOR, PRODUCTION_TOKENS, eventually, serving

pytestmark = pytest.mark.usefixtures("processes")

ROOT = Path(__file__).parent.parent.parent

TIMEOUT = 180.0
"""Seconds; many times what it takes, for slow machines."""


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a Python program of this project to its end; return exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **PRODUCTION_TOKENS, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TIMEOUT):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("service", "environment", "message"),
    [
        ("order", {}, "order: environment variable DATABASE_URL is not set"),
        ("order", {"DATABASE_URL": "mysql://x"}, "DATABASE_URL is invalid: must begin with postgresql://"),
        (
            "adapter",
            {"PORT": "http"},
            "adapter: environment variable PORT is invalid: Input should be a valid int",
        ),
        ("adapter", {"ORDER_URL": "http:///orders"}, "ORDER_URL is invalid: must have a host"),
        ("adapter", {"SCM_URL": "http://scm:http"}, "SCM_URL is invalid: must have a valid host and port"),
        (
            "adapter",
            {"AWS_ENDPOINT_URL": "http://s q s/"},
            "AWS_ENDPOINT_URL is invalid: must not contain spaces",
        ),
        ("adapter", {"AWS_REGION": "mars 1"}, "AWS_REGION is invalid: String should match pattern"),
        ("adapter", {"PORT": "70000"}, "PORT is invalid: Input should be less than or equal to 65535"),
        ("order", {"PORT": "0"}, "PORT is invalid: Input should be greater than or equal to 1"),
        ("scm", {"PORT": "0"}, "PORT is invalid: Input should be greater than or equal to 1"),
        (
            "order",
            {"DATABASE_URL": "postgresql://a:secret/secret@here/orders"},
            "DATABASE_URL is invalid: must have a valid host and port",
        ),
        (
            "adapter",
            {"ENVIRONMENT": "prod"},
            "ENVIRONMENT is invalid: Input should be 'development' or 'prod",
        ),
        (
            "order",
            {"DATABASE_MAX_CONNECTIONS": "9" * 30},
            "DATABASE_MAX_CONNECTIONS is invalid: Input should be less than or equal to 262143",
        ),
        (
            "scm",
            {"EVENT_MAX_ATTEMPTS": "9" * 30},
            "EVENT_MAX_ATTEMPTS is invalid: Input should be less than or equal to 1000000",
        ),
        (
            "adapter",
            {"HOST": "a b"},
            "adapter: environment variable HOST is invalid: must be a host name or an IP address",
        ),
        ("adapter", {"ROUTES_FILE": "/nowhere.toml"}, "adapter: /nowhere.toml: "),
        (
            "scm",
            {"DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/scm"},
            "scm: postgresql://a@127.0.0.1:1/scm: ",
        ),
    ],
)
async def test_a_wrong_setting_is_refused_in_one_line(
    service: str, environment: dict[str, str], message: str
) -> None:
    """It names the variable or the file, and the reason; no stack trace, and no secret."""
    code, output = await run("-m", f"services.{service}", LOG_LEVEL="ERROR", **environment)
    assert code == 2
    [line] = output.splitlines()
    assert message in line
    assert "secret" not in line


@pytest.mark.parametrize("url", ["postgresql://a:secret@here/orders?foo=bar", "postgresql://a:secret@[::1/x"])
async def test_a_migration_without_a_database_is_refused_in_one_line(url: str) -> None:
    """Without the secret in its URL."""
    code, output = await run("-m", "services.order", "migrate", DATABASE_URL=url)
    assert code == 2
    [line] = output.splitlines()
    assert line.startswith("order: ")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("services.console", "audit", "--url", "http://[::1"),
            "http://[::1 is no URL (CONSOLE_URL, --url): ",
        ),
        (
            (
                "services.console",
                "dead-letters",
                "redrive",
                "--queue",
                "q",
                "--id",
                "x",
                "--body",
                sys.executable,
            ),
            f"{sys.executable} cannot be read as text: ",
        ),
        (("local", "reconcile", "--order-url", "http://[::1"), "http://[::1 is no URL: "),
        (("local", "up", "--folder", __file__), f"{__file__}: cannot create the folder: "),
    ],
)
async def test_a_command_with_a_wrong_argument_is_refused_in_one_line(
    arguments: tuple[str, ...], message: str
) -> None:
    """It names the value and the reason."""
    code, output = await run("-m", *arguments)
    assert code in (1, 2)
    assert output.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("order", "order: the queue order-adapter-scm-event-queue does not exist"),
        (
            "adapter",
            "adapter: environment variable TOPIC_ARNS has no ARN of order-events, scm-events, to which ",
        ),
    ],
)
async def test_a_missing_queue_or_topic_is_refused_in_production(
    order_database: str, aws_url: str, service: str, message: str
) -> None:
    """In one line that names it."""
    code, output = await run(
        "-m",
        f"services.{service}",
        DATABASE_URL=order_database,
        AWS_ENDPOINT_URL=aws_url,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        PORT=str(Ports.free()["order"]),
        LOG_LEVEL="ERROR",
    )
    assert code == 2
    [line] = output.splitlines()
    assert line.startswith(message)


async def test_a_port_in_use_is_refused_in_one_line(aws_url: str) -> None:
    """It names the address and the variables."""
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"ENVIRONMENT": "development", "PORT": port, "AWS_ENDPOINT_URL": aws_url}
        code, output = await run("-m", "services.adapter", **settings)
    assert code == 2
    assert f"adapter: cannot listen on 127.0.0.1:{port} (HOST, PORT): " in output.splitlines()[-1]
    assert "Traceback" not in output


async def test_a_wrong_route_file_is_refused_with_a_line_for_every_error(tmp_path: Path) -> None:
    """Each names file, line and rule."""
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\nid = "a"\nsource = "order"\ntopik = "order-events"\n')
    code, output = await run("-m", "services.adapter", ENVIRONMENT="development", ROUTES_FILE=str(routes))
    assert code == 2
    assert output.splitlines() == [
        f"adapter: {routes}:1: rule a, key type: is missing",
        f"adapter: {routes}:4: rule a, key topik: there is no such key; did you mean topic?",
    ]


async def test_migrations_may_run_at_the_same_time(postgres_server: Postgres) -> None:
    """Several instances that start together: one migrates, the others find it done."""
    url = postgres_server.url("migrated_together")
    results = await asyncio.gather(
        *(run("-m", "services.scm", "migrate", DATABASE_URL=url) for _ in range(3))
    )
    assert [code for code, _ in results] == [0, 0, 0], results
    assert sorted("0001.scm" in output for _, output in results) == [False, False, True]
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM stock") == 0
    await connection.close()


async def test_a_migration_that_does_not_end_is_waited_for_20_seconds(
    order_database: str,
) -> None:
    """That of a frozen process, for example."""
    frozen = await asyncpg.connect(order_database)
    await frozen.execute("SELECT pg_advisory_lock($1)", 5_310_071)
    code, output = await run("-m", "services.order", "migrate", DATABASE_URL=order_database)
    assert code == 2
    [line] = output.splitlines()
    assert line.startswith("order: postgresql://")
    assert line.endswith(
        ": another process has been migrating it for 20 s: wait for it or end it, then repeat"
    )
    await frozen.close()


@asynccontextmanager
async def adapter_that_kills_its_caller(system: LocalSystem) -> AsyncIterator[str]:
    """A proxy in front of the adapter that kills the order process after SNS has accepted the first
    completed order, so that the adapter's answer never reaches it."""
    app = FastAPI()

    @app.post("/events")
    async def take(request: Request) -> Response:
        async with httpx.AsyncClient() as http:
            answer = await http.post(
                f"{system.ports.url('adapter')}/events",
                content=await request.body(),
                headers={name: request.headers[name] for name in ("content-type", "authorization")},
            )
        if b"forwarded" in answer.content:
            system.programs["order"].send_signal(signal.SIGKILL)
        return Response(answer.content, answer.status_code, media_type="application/json")

    async with serving(app) as served:
        yield served.url


async def test_killing_the_relay_between_sns_and_its_bookkeeping(tmp_path: Path) -> None:
    """G1 and G3, on real processes: the event is sent again, not lost, and has its effect once."""
    async with (
        running_system(tmp_path, Ports.free()) as system,
        httpx.AsyncClient(base_url=system.ports.url("order")) as order,
        httpx.AsyncClient(base_url=system.ports.url("scm")) as scm,
        adapter_that_kills_its_caller(system) as proxy,
    ):
        await system.programs["order"].stop()
        system.overrides["order"] = {"ADAPTER_URL": proxy}
        await system.start_service("order")
        (await scm.put("/back-office/stock/MUG-01", json={"onHand": 10}, headers=OPERATOR)).raise_for_status()
        order_id = (await order.post("/orders", json=ORDER)).json()["id"]
        (await order.post(f"/orders/{order_id}/complete")).raise_for_status()
        assert await system.programs["order"].wait() == -signal.SIGKILL

        system.overrides.clear()
        await system.start_service("order")

        async def prepared() -> dict[str, Any] | None:
            found: dict[str, Any] = (await order.get(f"/orders/{order_id}")).json()
            return found if found["invoiceId"] else None

        async def all_decided() -> list[Any] | None:
            events: list[Any] = (await order.get(f"/orders/{order_id}/events")).json()["published"]
            return events if all(event["decision"] for event in events) else None

        async def absorbed() -> bool:
            """Each of SCM's queues has absorbed the second delivery of the event."""
            consumed = (await scm.get("/reconciliation/events")).json()["consumed"]
            return [each["duplicates"] for each in consumed] == [1, 1]

        await eventually(prepared, within=TIMEOUT)
        events = await eventually(all_decided)
        await eventually(absorbed)
        invoices = (await scm.get("/external-api/invoices", params={"orderId": order_id})).json()
        [stock] = (await scm.get("/back-office/stock")).json()
        logs = (tmp_path / "logs" / "adapter.log").read_text().count(f"event_id={events[-1]['id']}")
    assert len(invoices) == 1
    assert stock["reserved"] == 2
    assert logs == 2, "the adapter should have received the event twice"


class Up:
    """`python -m local up`, as `make up` runs it, on free ports and in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Ports.free()

    async def start(self) -> None:
        self.output = ""
        environment = {variable(name, "PORT"): str(port) for name, port in self.ports.by_name.items()}
        self.process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "local", "up", "--folder", str(self.folder)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def wait_for_output(self, text: str, times: int = 1) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            while self.output.count(text) < times:
                line = await self.process.stdout.readline()
                assert line, self.output
                self.output += line.decode()

    async def end(self) -> int:
        async with asyncio.timeout(TIMEOUT):
            output, _ = await self.process.communicate()
        self.output += output.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    def find(self, name: str) -> psutil.Process | None:
        """Return the process that serves on the port of this name."""
        for process in psutil.process_iter(["cmdline", "environ"]):
            about = [*(process.info["cmdline"] or []), (process.info["environ"] or {}).get("PORT")]
            if {str(self.ports[name]), f"{HOST}:{self.ports[name]}"} & set(about) and "migrate" not in about:
                return process
        return None

    def processes(self) -> list[str]:
        """Return the command lines of its child processes that still run."""
        marks = {str(self.folder), *(f":{port}" for port in self.ports.by_name.values())}
        found = []
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            about = " ".join([*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()])
            is_test = process.pid in (os.getpid(), self.process.pid)
            if (
                not is_test
                and process.info["status"] != psutil.STATUS_ZOMBIE
                and any(m in about for m in marks)
            ):
                found.append(about[:200])
        return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_stops_all_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM alike; the data stays, and the next start has it."""
    up = Up(tmp_path)
    await up.start()
    await up.wait_for_output("curl -s -X POST")
    assert len(up.processes()) >= 5
    async with httpx.AsyncClient() as http:
        placed = await http.post(f"{up.ports.url('order')}/orders", json=ORDER)
    up.process.send_signal(number)
    assert await up.end() == 0, up.output
    assert up.processes() == []
    assert "Traceback" not in up.output

    if number is signal.SIGTERM:
        await up.start()
        await up.wait_for_output("curl -s -X POST")
        async with httpx.AsyncClient() as http:
            read = await http.get(f"{up.ports.url('order')}/orders/{placed.json()['id']}")
        up.process.send_signal(number)
        await up.end()
        assert read.json()["id"] == placed.json()["id"]


async def test_up_ends_with_one_line_when_the_queues_are_gone(tmp_path: Path) -> None:
    """The line names the SNS/SQS server and its log; the services are stopped."""
    up = Up(tmp_path)
    await up.start()
    await up.wait_for_output("curl -s -X POST")
    aws = up.find("aws")
    assert aws is not None
    aws.kill()
    assert await up.end() == 1
    assert f"error: aws ended with code -9; its log is {tmp_path}/logs/aws.log" in up.output
    assert "Traceback" not in up.output
    assert up.processes() == []


async def test_up_starts_a_service_that_dies_three_times_again(tmp_path: Path) -> None:
    """Then the others continue without it, until a command restarts it; reconcile finds the ports."""
    up = Up(tmp_path / ".local")
    await up.start()
    await up.wait_for_output("curl -s -X POST")

    async def running_scm() -> psutil.Process | None:
        return up.find("scm")

    for number in range(4):
        (await eventually(running_scm)).kill()
        await up.wait_for_output("scm ended with code -9", times=number + 1)
    await up.wait_for_output("error: scm ended 4 times; the others continue without it")
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{up.ports.url('order')}/livez")).status_code == 200

    async def command(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "local", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    assert await command("restart", "scm") == (0, f"scm is ready at {up.ports.url('scm')}\n")
    code, output = await command("restart", "shop")
    assert (code, output) == (
        1,
        "error: there is no service 'shop'; there are console, order, adapter, scm\n",
    )
    code, output = await command("reconcile")
    assert code == 0, output
    up.process.terminate()
    assert await up.end() == 0
    code, output = await command("restart", "scm")
    assert (code, output) == (1, f"error: no system runs in {up.folder}: start it with `make up`\n")


async def test_up_names_a_port_in_use(tmp_path: Path) -> None:
    """With the variable that changes it; no process is started."""
    up = Up(tmp_path)
    with socket.create_server((HOST, up.ports["adapter"])):
        await up.start()
        assert await up.end() == 1
    assert up.output.splitlines()[-1] == (
        f"error: port {up.ports['adapter']} (adapter) is in use: stop its program, "
        "or choose another with ADAPTER_PORT=…"
    )
    assert up.processes() == []


async def test_logs_are_json_without_a_terminal(tmp_path: Path) -> None:
    """Each line is an object; one about an event has its id, type and order. No line has a token or the
    buyer's data."""
    async with running_system(tmp_path, Ports.free()) as system:
        await system.programs["order"].stop()
        system.overrides["order"] = {"LOG_FORMAT": "auto", "LOG_LEVEL": "DEBUG"}
        (tmp_path / "logs" / "order.log").unlink()
        await system.start_service("order")
        async with httpx.AsyncClient(base_url=system.ports.url("order")) as order:
            order_id = (await order.post("/orders", json=ORDER)).json()["id"]
            (await order.get("/event-log", headers=OPERATOR)).raise_for_status()
            await order.put(f"/orders/{order_id}/delivery-address", json=ORDER["buyer"], headers=OPERATOR)

            async def decided() -> bool:
                events = (await order.get(f"/orders/{order_id}/events")).json()["published"]
                return bool(events[0]["decision"])

            await eventually(decided)
        await system.programs["order"].stop()
    log = (tmp_path / "logs" / "order.log").read_text()
    tokens = [each.get_secret_value() for each in (development_token("order"), DEVELOPMENT_OPERATOR.token)]
    assert not [each for each in (*tokens, *ORDER["buyer"].values()) if each in log]
    lines = [json.loads(line) for line in log.splitlines()]
    assert all({"event", "level", "timestamp", "service"} <= line.keys() for line in lines)
    [about] = [line for line in lines if line["event"] == "relayed: held back"]
    assert (about["event_type"], about["order_id"], about["service"]) == ("OrderPlaced", order_id, "order")
    assert about["event_id"]
    assert about["trace_id"]
