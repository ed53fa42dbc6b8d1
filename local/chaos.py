"""`make chaos`: orders without a pause while one part after the other is really broken; then everything has
to agree."""

import asyncio
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import stamina
import stamina.instrumentation
from rich.console import Console

from local.door import Door
from local.order import ORDER, order_of
from local.ports import HOST
from local.reconcile import Books, settled
from local.system import DATABASES, OPERATOR, LocalSystem, Ports, running_system

FOLDER = Path(__file__).parent.parent / ".local" / "chaos"
"""Data and logs of the last run."""

_PER_SECOND = 6
_FAULT = 3.0
"""Seconds that a fault goes on, if it does not end by itself."""
_BETWEEN = 2.0
_SETTLED_MOST = 75.0
"""Seconds; the relays' longest pause is 60. What has not settled by then is told as it is."""
_SHOWN = 20
"""Differences, of perhaps many that are of a kind."""
_STOCK = {"MUG-01": 100_000, "TRAY-03": 60}
"""Enough of the one, too little of the other."""

_REDELIVERED = "SELECT count(*) FROM inbox WHERE receive_count > 1"
_END_CONNECTIONS = """
    SELECT count(pg_terminate_backend(pid))
    FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid()
"""

_GARBAGE = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{"results": "sure"}'
)
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class NotYet(Exception):
    """The Order service could not do it just now; a customer tries again with the same key."""


@dataclass
class Customers:
    """Place orders, pay most of them, change their minds; and try again, as clients do, until it worked."""

    http: httpx.AsyncClient
    chance: random.Random
    placed: dict[str, str] = field(default_factory=dict)
    """The order that was answered, by the key under which it was placed."""
    paid: set[str] = field(default_factory=set)
    """The orders whose completion was answered."""
    tries: int = 0

    async def come(self, until: asyncio.Event) -> None:
        """A steady stream, and returns when the last one has gone."""
        async with asyncio.TaskGroup() as group:
            while not until.is_set():
                group.create_task(self._customer())
                await asyncio.sleep(1 / _PER_SECOND)

    async def _customer(self) -> None:
        key = str(uuid.uuid4())
        skus = self.chance.sample(sorted(_STOCK), self.chance.choice((1, 1, 2)))
        wanted = order_of({sku: self.chance.randint(1, 3) for sku in skus})
        order = await self._do("POST", "/orders", key, wanted)
        self.placed[key] = order["id"]
        if self.chance.random() < 0.1:
            return
        await self._do("POST", f"/orders/{order['id']}/complete", f"{key}-complete")
        self.paid.add(order["id"])
        if self.chance.random() < 0.25:
            address = ORDER["deliveryAddress"] | {"street": f"{self.chance.randrange(999)} Sejong-daero"}
            await self._do("PUT", f"/orders/{order['id']}/delivery-address", f"{key}-address", address)
        if self.chance.random() < 0.25:
            await self._do("POST", f"/orders/{order['id']}/cancel", f"{key}-cancel")

    def missing(self, books: Books) -> Iterator[str]:
        """A sentence for each answer that does not hold."""
        told = set(self.placed.values())
        for order_id in sorted(told - books.orders.keys()):
            yield f"order {order_id}: was answered, and is not there"
        for order_id in sorted(books.orders.keys() - told):
            yield f"order {order_id}: is there, and nobody was told"
        for order_id in sorted(self.paid & books.orders.keys()):
            if books.orders[order_id]["completedAt"] is None:
                yield f"order {order_id}: its completion was answered, and did not happen"

    @stamina.retry(on=(httpx.TransportError, NotYet), attempts=None, timeout=60, wait_initial=0.1, wait_max=1)
    async def _do(self, method: str, path: str, key: str, body: Any = None) -> Any:
        self.tries += 1
        answer = await self.http.request(
            method, path, json=body, headers={"idempotency-key": key}, timeout=10
        )
        if answer.is_server_error:
            raise NotYet(f"{path}: {answer.status_code} {answer.text}")
        if answer.status_code != httpx.codes.CONFLICT:  # what an order's state does not allow is an answer
            answer.raise_for_status()
        return answer.json()


@dataclass
class Chaos:
    """The running system, the doors before SNS/SQS and the adapter, and the ways to break it."""

    system: LocalSystem
    aws: Door
    adapter: Door

    async def kill(self, program: str) -> None:
        self.system.programs[program].send(signal.SIGKILL)
        await self.system.programs[program].ended()

    def killed(self, service: str) -> Callable[[], Awaitable[None]]:
        async def fault() -> None:
            await self.kill(service)
            await asyncio.sleep(1)
            await self.system.start_service(service)

        return fault

    async def one_of_two_killed(self) -> None:
        """Two instances of SCM share the queues; one dies, and is not started again."""
        await self.system.start_second("scm")
        await asyncio.sleep(_FAULT)
        await self.kill("scm-2")

    async def relays_disconnected(self) -> None:
        """PostgreSQL ends the connections on which the relays (and all others) work."""
        for service, database in DATABASES.items():
            connection = await asyncpg.connect(self.system.database_url(service))
            try:
                await connection.execute(_END_CONNECTIONS, database)
            finally:
                await connection.close()

    async def postgres_restarted(self) -> None:
        await asyncio.to_thread(self.system.postgres.restart)

    async def aws_unreachable(self) -> None:
        async with self.aws.closed():
            await asyncio.sleep(_FAULT)

    async def adapter_broken(self) -> None:
        async with self.adapter.answering(_ERROR):
            await asyncio.sleep(_FAULT)

    async def adapter_talks_nonsense(self) -> None:
        async with self.adapter.answering(_GARBAGE):
            await asyncio.sleep(_FAULT)

    async def adapter_slow(self) -> None:
        async with self.adapter.slow(5):
            await asyncio.sleep(_FAULT)

    def faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "kill -9 order": self.killed("order"),
            "kill -9 adapter": self.killed("adapter"),
            "kill -9 scm": self.killed("scm"),
            "kill -9 one of two scm": self.one_of_two_killed,
            "database connections ended": self.relays_disconnected,
            "PostgreSQL restarted": self.postgres_restarted,
            "SNS/SQS unreachable": self.aws_unreachable,
            "adapter answers 500": self.adapter_broken,
            "adapter answers garbage": self.adapter_talks_nonsense,
            "adapter takes 5 s": self.adapter_slow,
        }


async def run_chaos(seed: int) -> int:
    """Returns 0 when in the end nothing was lost, doubled or left in disagreement."""
    stamina.instrumentation.set_on_retry_hooks([])  # the customers' tries are told as a number
    console, chance = Console(highlight=False, soft_wrap=True), random.Random(seed)  # noqa: S311
    console.print(f"[bold]Chaos[/], seed {seed}: starting the system, its log is {FOLDER / 'logs'} …")
    async with _broken_into(Ports.free()) as chaos, _clients(chaos.system) as (order, scm):
        await _stock(scm)
        customers = Customers(order, chance)
        await _break_everything(console, chaos, customers)
        healed = time.monotonic()
        books, differences = await settled(order, scm, within=_SETTLED_MOST)
        found = [*customers.missing(books), *differences]
        for each in found[:_SHOWN]:
            console.print(f"[red]✗[/] {each}")
        if len(found) > _SHOWN:
            console.print(f"  … and {len(found) - _SHOWN} more")
        seconds = time.monotonic() - healed
        console.print(f"{'[red]✗[/] not' if found else '[green]✓[/]'} settled after {seconds:.1f} s")
        _summarise(console, customers, books, differences, await _redelivered(chaos.system))
        return 1 if found else 0


async def _break_everything(console: Console, chaos: Chaos, customers: Customers) -> None:
    """One part after the other, in an order that is another one with each seed, while customers come.
    Returns when all parts are well and the last customer has gone."""
    console.print(f"{_PER_SECOND} orders a second, while this breaks:")
    enough, began = asyncio.Event(), time.monotonic()
    faults = list(chaos.faults().items())
    customers.chance.shuffle(faults)

    def tell(what: str, end: str = "\n") -> None:
        seconds = time.monotonic() - began
        console.print(f"  {seconds:5.0f} s  {len(customers.placed):4} orders  {what}", end=end)

    async with asyncio.TaskGroup() as group:
        group.create_task(customers.come(enough))
        for name, fault in faults:
            await asyncio.sleep(_BETWEEN)
            tell(f"{name:<27}", end="")
            broken = time.monotonic()
            await fault()
            console.print(f"for {time.monotonic() - broken:4.1f} s")
        enough.set()
    tell("all is well again, and nobody comes any more")


def _summarise(
    console: Console, customers: Customers, books: Books, differences: list[str], redelivered: int
) -> None:
    told = set(customers.placed.values())
    console.print(
        f"{len(books.orders)} orders in {customers.tries} requests: {len(told - books.orders.keys())} lost, "
        f"{len(books.orders.keys() - told)} doubled, {len(differences)} differences"
    )
    console.print(
        f"{redelivered} messages were redelivered before they were handled, {books.absorbed()} duplicates "
        f"were absorbed, {books.superseded()} messages superseded by newer ones"
    )


@asynccontextmanager
async def _broken_into(ports: Ports) -> AsyncIterator[Chaos]:
    """The system with doors in it. They stay open until its services have drained."""
    async with Door(ports.aws) as aws, Door(ports.adapter) as adapter:
        through = {"AWS_ENDPOINT_URL": f"http://{HOST}:{aws.port}"}
        relaying = through | {"ADAPTER_URL": f"http://{HOST}:{adapter.port}"}
        overrides = {"order": relaying, "adapter": through, "scm": relaying}
        async with running_system(FOLDER, ports, fresh=True, overrides=overrides) as system:
            yield Chaos(system, aws, adapter)


@asynccontextmanager
async def _clients(system: LocalSystem) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async with (
        httpx.AsyncClient(base_url=system.ports.url("order"), trust_env=False) as order,
        httpx.AsyncClient(base_url=system.ports.url("scm"), trust_env=False) as scm,
    ):
        yield order, scm


async def _stock(scm: httpx.AsyncClient) -> None:
    for sku, on_hand in _STOCK.items():
        answer = await scm.put(f"/back-office/stock/{sku}", json={"onHand": on_hand}, headers=OPERATOR)
        answer.raise_for_status()


async def _redelivered(system: LocalSystem) -> int:
    counts = 0
    for service in DATABASES:
        connection = await asyncpg.connect(system.database_url(service))
        counts += await connection.fetchval(_REDELIVERED)
        await connection.close()
    return counts
