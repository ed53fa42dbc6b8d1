"""The Order service over REST, compared with a bare FastAPI endpoint that uses the same rows."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx

from benchmarks.figure import Figure
from benchmarks.http_server import HttpServer, get, in_rounds, post
from benchmarks.orders import seed, some_ids
from local.order import ORDER
from local.ports import HOST, Ports, free_ports
from local.postgres import Postgres, postgres
from local.system import LocalSystem

_ORDERS = 1_000


@asynccontextmanager
async def alone(folder: Path, database: Postgres) -> AsyncIterator[LocalSystem]:
    """Start the dependencies of the Order service: its database and SNS/SQS."""
    system = LocalSystem(folder, Ports.free(), database, lambda _, __: None)
    try:
        await asyncio.gather(system.start_aws(), system.migrate("order"))
        yield system
    finally:
        await system.stop()


@asynccontextmanager
async def order_service(system: LocalSystem, **environment: str) -> AsyncIterator[HttpServer]:
    """Start it as in production, with JSON logs written to a file."""
    [port] = free_ports(1)
    given = system.environment("order") | {"PORT": str(port), "LOG_FORMAT": "json"} | environment
    with (system.folder / f"order-{port}.log").open("w") as log:
        async with _serving(["services.order"], port, os.environ | given, log) as server:
            yield server


@asynccontextmanager
async def _bare(database_url: str) -> AsyncIterator[HttpServer]:
    [port] = free_ports(1)
    async with _serving(["benchmarks.bare_rest", database_url, str(port)], port, os.environ) as server:
        yield server


@asynccontextmanager
async def _serving(
    module: Sequence[str], port: int, environment: Mapping[str, str], output: IO[str] | None = None
) -> AsyncIterator[HttpServer]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", *module], env=environment, stdout=output
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as http:
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
    """Check that both answers are equal; otherwise the comparison would be meaningless."""
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
                alone(folder, database) as system,
                order_service(system) as ours,
                _bare(system.database_url("order")) as bare,
            ):
                await seed(database, "orders", _ORDERS)
                ids = await some_ids(database, "orders", 800)
                await _same_answer(ours, bare, ids[0])
                reads = [get(f"/orders/{each}") for each in ids]
                return [
                    *await _compared("GET /orders/{id}", ours, bare, reads, at_least=0.85),
                    *await _compared(
                        "POST /orders", ours, bare, [post("/orders", ORDER)] * 400, at_least=0.8, expected=201
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
