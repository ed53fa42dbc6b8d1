"""The Order service over REST, against a bare FastAPI endpoint that touches the same rows."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.figure import Figure
from benchmarks.http_server import HttpServer, get, in_rounds, post
from benchmarks.orders import ORDER, seed, some_ids
from local.ports import HOST, free_ports
from local.postgres import Postgres, postgres
from local.system import LocalSystem, Ports

_ORDERS = 1_000


@asynccontextmanager
async def order_service(folder: Path, database: Postgres) -> AsyncIterator[LocalSystem]:
    """The Order service as it is started everywhere, but alone; with a log for machines."""
    system = LocalSystem(folder, Ports.free(), database, lambda _, __: None)
    system.overrides["order"] = {"LOG_FORMAT": "json"}
    try:
        await asyncio.gather(system.start_aws(), system.migrate("order"))
        await system.start_service("order")
        yield system
    finally:
        await system.stop()


@asynccontextmanager
async def _bare(database_url: str) -> AsyncIterator[HttpServer]:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.bare_rest", database_url, str(port)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(20), httpx.AsyncClient(trust_env=False) as http:
            while not await _answers(http, port):
                await asyncio.sleep(0.05)
        yield HttpServer(port, process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _answers(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://{HOST}:{port}/openapi.json")).is_success
    except httpx.TransportError:
        return False


async def _same_answer(ours: HttpServer, bare: HttpServer, order_id: str) -> None:
    """Else it would be no comparison."""
    async with httpx.AsyncClient(trust_env=False) as http:
        urls = [f"http://{HOST}:{server.port}/orders/{order_id}" for server in (ours, bare)]
        one, other = [(await http.get(url)).raise_for_status().json() for url in urls]
    if one != other:
        raise SystemExit(f"the bare endpoint answers something else: {other} instead of {one}")


async def rest() -> list[Figure]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgres(folder / "postgres") as database:
            async with (
                order_service(folder, database) as system,
                _bare(system.database_url("order")) as bare,
            ):
                ours = HttpServer(system.ports.order, system.programs["order"].pid)
                await seed(database, "orders", _ORDERS)
                ids = await some_ids(database, "orders", 1_500)
                await _same_answer(ours, bare, ids[0])
                reads = [get(f"/orders/{each}") for each in ids]
                return [
                    *await _compared("GET /orders/{id}", ours, bare, reads, at_least=0.85),
                    *await _compared(
                        "POST /orders", ours, bare, [post("/orders", ORDER)] * 700, at_least=0.8, expected=201
                    ),
                ]


async def _compared(
    name: str,
    ours: HttpServer,
    bare: HttpServer,
    requests: Sequence[str],
    *,
    at_least: float,
    expected: int = 200,
) -> list[Figure]:
    one, other = await in_rounds([ours, bare], dict.fromkeys((ours, bare), requests), expected)
    return [
        Figure(f"{name}: throughput", "req/s", 1 / one["seconds"], 1 / other["seconds"], at_least=at_least),
        Figure(f"{name}: server's CPU", "µs/req", one["cpu"] * 1e6, other["cpu"] * 1e6),
    ]
