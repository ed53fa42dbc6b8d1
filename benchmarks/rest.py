"""The Order service over REST, against a bare FastAPI endpoint that touches the same rows; and both sizes of
its tables. `python -m benchmarks.rest [ORDERS]`."""

import asyncio
import json
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import psutil

from benchmarks.figure import Figure
from local.ports import HOST, free_ports
from local.postgres import postgres
from local.system import LocalSystem, Ports

ROUNDS = 5
CONNECTIONS = 16

FEW, MANY = 1_000, 1_000_000

ORDER = json.loads((Path(__file__).parent.parent / "docs" / "order.json").read_text(encoding="utf-8"))

# One a second since 2000, of a thousand buyers; every tenth is not completed.
SEED = """
    INSERT INTO orders (
        id, version, status, buyer, delivery_address, order_lines, total_price, placed_at, completed_at
    )
    SELECT to_char(placed_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'), 2,
           CASE number % 10 WHEN 0 THEN 'PLACED' ELSE 'DELIVERED' END,
           jsonb_build_object(
               'name', 'Buyer ' || number % 1000, 'phoneNumber', '010-' || 10000 + number % 1000
           ),
           $3, $4, 24000, placed_at, CASE number % 10 WHEN 0 THEN NULL ELSE placed_at END
    FROM generate_series($1::bigint, $2) AS number,
         LATERAL (SELECT timestamptz '2000-01-01Z' + number * interval '1 s' AS placed_at) AS placed
"""


@dataclass
class Bench:
    """Two servers on one database, and what is measured of them."""

    database_url: str
    ports: dict[str, int]
    pids: dict[str, int]

    async def seed(self, first: int, last: int) -> None:
        connection = await asyncpg.connect(self.database_url)
        parts = [json.dumps(ORDER[name]) for name in ("deliveryAddress", "orderLines")]
        await connection.execute(SEED, first, last, *parts, timeout=600)
        await connection.execute("VACUUM (ANALYZE) orders", timeout=600)
        await connection.close()

    async def ids(self, count: int) -> list[str]:
        connection = await asyncpg.connect(self.database_url)
        statement = "SELECT id FROM orders TABLESAMPLE BERNOULLI (LEAST(100, $1::float * 100 / $2))"
        orders = await connection.fetchval("SELECT count(*) FROM orders")
        found = [row["id"] for row in await connection.fetch(statement, 1.5 * count, orders)]
        await connection.close()
        return random.choices(found, k=count)  # noqa: S311

    async def measure(self, who: str, requests: Sequence[str], expected: int = 200) -> dict[str, float]:
        """Per request: seconds, and CPU seconds of the server."""
        server = psutil.Process(self.pids[who])
        before = server.cpu_times()
        command = [sys.executable, "-m", "benchmarks.load"]
        loading = await asyncio.create_subprocess_exec(
            *[*command, str(self.ports[who]), str(CONNECTIONS), str(expected)],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await loading.communicate("\n".join(map(json.dumps, requests)).encode())
        after = server.cpu_times()
        if loading.returncode:
            raise SystemExit(f"the load on {who} ended with code {loading.returncode}")
        cpu = after.user + after.system - before.user - before.system
        return {"seconds": float(output) / len(requests), "cpu": cpu / len(requests)}


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"


def post(path: str, body: object) -> str:
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(text)}\r\n\r\n{text}"


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """The Order service as it is started everywhere, but alone, and the bare one."""
    [port] = free_ports(1)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        postgres(Path(name) / "postgres") as database,
    ):
        system = LocalSystem(Path(name), Ports.free(), database, lambda _, __: None)
        system.overrides["order"] = {"LOG_FORMAT": "json"}
        await system.start_aws()
        bare = None
        try:
            await system.migrate("order")
            await system.start_service("order")
            url = system.database_url("order")
            bare = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.bare_rest", url, str(port)
            )
            await _ready(f"http://{HOST}:{port}/openapi.json")
            yield Bench(
                url,
                {"ours": system.ports.order, "bare": port},
                {"ours": system.programs["order"].pid, "bare": bare.pid},
            )
        finally:
            if bare is not None:
                bare.terminate()
                await bare.wait()
            await system.stop()


async def _ready(url: str) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                (await http.get(url)).raise_for_status()
                return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)


async def rest(many: int = 0) -> list[Figure]:
    """`many` is how many orders the tables are to hold in the end, when that is to be measured too."""
    async with bench() as measured:
        await measured.seed(1, FEW)
        ids = await measured.ids(4_000)
        figures = await _against_bare(
            measured, "GET /orders/{id}", [get(f"/orders/{each}") for each in ids], 0.85
        )
        figures += await _against_bare(measured, "POST /orders", [post("/orders", ORDER)] * 1_500, 0.8, 201)
        if many:
            figures += await _against_ourselves(measured, many)
        return figures


async def _against_bare(
    measured: Bench, name: str, requests: Sequence[str], at_least: float, expected: int = 200
) -> list[Figure]:
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    for who in rounds:
        await measured.measure(who, requests[:300], expected)
    for _ in range(ROUNDS):
        for who, found in rounds.items():
            found.append(await measured.measure(who, requests, expected))
    ours, bare = _median(rounds["ours"]), _median(rounds["bare"])
    return [
        Figure(f"{name}: throughput", "req/s", 1 / ours["seconds"], 1 / bare["seconds"], at_least=at_least),
        Figure(f"{name}: server's CPU", "µs/req", ours["cpu"] * 1e6, bare["cpu"] * 1e6),
    ]


async def _against_ourselves(measured: Bench, many: int) -> list[Figure]:
    """The same reads, before and after the tables have grown."""
    few = await _reads(measured)
    await measured.seed(FEW + 1, many)
    after = await _reads(measured)
    return [
        Figure(
            f"{name}, {many:,} orders against {FEW:,}", "µs", after[name] * 1e6, few[name] * 1e6, at_most=1.1
        )
        for name in few
    ]


async def _reads(measured: Bench) -> dict[str, float]:
    before = "placedTo=2000-01-01T00:16:00Z"
    reads = {
        "GET /orders/{id}": [get(f"/orders/{each}") for each in await measured.ids(4_000)],
        "GET /orders": [get("/orders?limit=20")] * 500,
        "GET /orders?status": [get("/orders?limit=20&status=PLACED")] * 500,
        "GET /orders?placedTo": [get(f"/orders?limit=20&{before}")] * 500,
        "GET /orders?status&placedTo": [get(f"/orders?limit=20&status=PLACED&{before}")] * 500,
    }
    for requests in reads.values():
        await measured.measure("ours", requests[:300])
    rounds = [
        {name: (await measured.measure("ours", requests))["seconds"] for name, requests in reads.items()}
        for _ in range(ROUNDS)
    ]
    return _median(rounds)


def _median(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def main() -> None:
    for each in asyncio.run(rest(int(sys.argv[1]) if len(sys.argv) > 1 else 0)):
        against = each.ours / each.ratio if each.ratio else 0
        print(
            f"{each.name:<55} {each.ours:10.1f} {against:10.1f} {each.unit:<8} {each.ratio:.2f} {each.target}"
        )


if __name__ == "__main__":
    main()
