"""`make bench-peers`: what other libraries need for a message, on the same server and in turns with ours."""

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import listener
from benchmarks.child import ROUNDS, in_child, log_warnings_only
from benchmarks.meter import WARM_UP
from benchmarks.peers.tally import MESSAGES
from benchmarks.server import aws_server, fill

ROOT = Path(__file__).parents[2]
RESULTS = Path(".local") / "bench-peers.json"

Measured = dict[str, float]


@dataclass(frozen=True)
class Peer:
    """A program that takes messages; where they have a form of their own, another that sends them."""

    name: str
    work: Sequence[str]
    send: Sequence[str] = ()

    async def measure(self, url: str) -> Measured:
        await fill(url, 0 if self.send else MESSAGES)
        if self.send:
            await _output(self.send, url)
        measured: Measured = json.loads((await _output(self.work, url)).splitlines()[-1])
        return measured


def _python(name: str) -> Peer:
    command = [f".venv-peers-{name}/bin/python", "-m", f"benchmarks.peers.{name}_peer"]
    return Peer(name, work=[*command, "work"], send=[*command, "send"])


PEERS = [
    _python("celery"),
    _python("taskiq"),
    Peer("sqs-consumer (Node.js)", work=["node", "benchmarks/peers/sqs_consumer.mjs"]),
]


async def _output(command: Sequence[str], url: str) -> str:
    environment = {**os.environ, "AWS_ENDPOINT_URL": url, "PYTHONWARNINGS": "ignore"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {errors.decode()}")
    return output.decode()


async def _ours(url: str) -> Measured:
    await fill(url, WARM_UP + listener.COUNT + 200)
    return await in_child(listener.ours, url=url, in_flight=10)


async def _measured() -> dict[str, list[Measured]]:
    rounds: dict[str, list[Measured]] = {"ours": [], **{peer.name: [] for peer in PEERS}}
    async with aws_server() as url:
        for number in range(ROUNDS):
            print(f"  round {number + 1} of {ROUNDS}", file=sys.stderr)
            rounds["ours"].append(await _ours(url))
            for peer in PEERS:
                rounds[peer.name].append(await peer.measure(url))
    return rounds


def _table(rounds: dict[str, list[Measured]]) -> Table:
    table = Table(title="An empty handler, ten in flight", title_justify="left")
    table.add_column("")
    for column in ("CPU µs/msg", "of ours", "msg/s"):
        table.add_column(column, justify="right")
    ours = _median(rounds["ours"], "cpu")
    for name, measured in rounds.items():
        cpu, seconds = _median(measured, "cpu"), _median(measured, "seconds")
        table.add_row(name, f"{cpu * 1e6:,.0f}", f"{cpu / ours:.1f}", f"{1 / seconds:,.0f}")
    return table


def _median(rounds: Sequence[Measured], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


if __name__ == "__main__":
    log_warnings_only()
    rounds = asyncio.run(_measured())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rounds, indent=2))
    Console().print(_table(rounds))
    print(f"written to {RESULTS}")
