"""`make bench`: ours against the bare floor, in turns, on one local SNS/SQS server.

The server is the bottleneck on a small machine, so what counts most is the client's CPU per message.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.clients import QUEUE, REGION, TOPIC, Measured, message
from local.ports import HOST, free_ports
from local.system import aws_program
from shared.messaging import SqsChannel, Topology, aws_clients, bindings, sqs_listener

RESULTS = Path(".local") / "bench.json"
ROUNDS = 3

SCENARIOS = {
    "listener, 10 in flight": ("listener", 10),
    "listener, 50 in flight": ("listener", 50),
    "publisher": ("publisher", 10),
}

cli = typer.Typer(add_completion=False, help=__doc__)


@cli.command()
def bench(
    count: Annotated[int, typer.Option(help="Messages of one measurement, a multiple of 100.")] = 3_000,
) -> None:
    """Print a table of ratios, and write what was measured to .local/bench.json."""
    results = asyncio.run(_bench(count))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2))
    Console().print(_table(results, count))
    print(f"written to {RESULTS}")


async def _bench(count: int) -> dict[str, Any]:
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        server = aws_program(port, Path(folder))
        await server.start()
        try:
            await server.ready(f"{url}/_ministack/health")
            return {name: await _compare(url, *scenario, count) for name, scenario in SCENARIOS.items()}
        finally:
            await server.stop()


async def _compare(url: str, kind: str, in_flight: int, count: int) -> dict[str, Any]:
    """The rounds of both, which take turns, each from the same state of the server."""
    rounds: dict[str, list[dict[str, float]]] = {"our": [], "bare": []}
    for _ in range(ROUNDS):
        for who, measured in rounds.items():
            await _prepare(url, count if kind == "listener" else 0)
            print(f"  {who} {kind}, {in_flight} in flight", file=sys.stderr)
            measured.append(_measure(f"{who}-{kind}", url, count, in_flight))
    return rounds


async def _prepare(url: str, count: int) -> None:
    """The queue as the listener's topology makes it, with so many messages in it."""
    async with httpx.AsyncClient(trust_env=False) as http:
        (await http.post(f"{url}/_ministack/reset")).raise_for_status()

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None: ...

    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        [binding] = bindings([handler])
        await Topology(clients, create=True).listener_queues(binding)
        queue_url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        channel = SqsChannel(clients.sqs, QUEUE, queue_url)
        for start in range(0, count, 100):
            await channel.send([message(number) for number in range(start, start + 100)])


def _measure(kind: str, url: str, count: int, in_flight: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.clients", kind, url, str(count), str(in_flight)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def _table(results: dict[str, Any], count: int) -> Table:
    table = Table(
        title=f"Ours against the bare floor, {count} messages, median of {ROUNDS}", title_justify="left"
    )
    for column in ("", "msg/s", "bare", "ratio", "CPU µs/msg", "bare", "ratio", "calls/msg", "bare"):
        table.add_column(column, justify="left" if not column else "right")
    for name, rounds in results.items():
        ours, bare = _median(rounds["our"]), _median(rounds["bare"])
        table.add_row(
            name,
            f"{count / ours['seconds']:.0f}",
            f"{count / bare['seconds']:.0f}",
            f"{bare['seconds'] / ours['seconds']:.2f}",
            f"{ours['cpu'] / count * 1e6:.0f}",
            f"{bare['cpu'] / count * 1e6:.0f}",
            f"{ours['cpu'] / bare['cpu']:.2f}",
            f"{ours['calls'] / count:.3f}",
            f"{bare['calls'] / count:.3f}",
        )
    return table


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


if __name__ == "__main__":
    cli()
