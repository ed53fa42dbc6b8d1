"""`make chaos`: inject one fault after the other under a stream of orders, then reconcile."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import stamina
import stamina.instrumentation
from rich.console import Console

from local.fault_proxy import FaultProxy
from local.faults import Faults
from local.order import ORDER, order_of
from local.output import background_console
from local.ports import HOST, Ports
from local.reconcile import Report, compare_settled
from local.system import OPERATOR, LocalSystem, running_system

FOLDER = Path(__file__).parent.parent / ".local" / "chaos"
"""Data and logs of the last run."""

_ORDERS_PER_SECOND = 6
_PAUSE = 2.0
"""Seconds between two faults."""
_SETTLE_TIMEOUT = 75.0
"""Seconds; the longest backoff of a relay is 60."""
MAX_SHOWN = 20
"""Differences that are printed."""
_STOCK = {"MUG-01": 100_000, "TRAY-03": 60}
"""One article in abundance, one that runs short."""

_REDELIVERED = "SELECT count(*) FROM inbox WHERE receive_count > 1"


class TemporaryFailure(Exception):
    """The Order service answered 5xx; the customer retries with the same idempotency key."""


Stored = dict[str, Any]
"""Orders of the Order service by id."""


@dataclass
class Customers:
    """Place orders, complete most of them, readdress or cancel some; retry each request until it succeeds."""

    http: httpx.AsyncClient
    rng: random.Random
    placed: dict[str, str] = field(default_factory=dict)
    """Id of the acknowledged order, by its idempotency key."""
    completed: set[str] = field(default_factory=set)
    """Ids of the orders whose completion was acknowledged."""
    requests: int = 0

    async def run(self, until: asyncio.Event) -> None:
        """Place orders at a steady rate, and return when the last customer is done."""
        async with asyncio.TaskGroup() as group:
            while not until.is_set():
                group.create_task(self._customer())
                await asyncio.sleep(1 / _ORDERS_PER_SECOND)

    async def _customer(self) -> None:
        key = str(uuid.uuid4())
        skus = self.rng.sample(sorted(_STOCK), self.rng.choice((1, 1, 2)))
        wanted = order_of({sku: self.rng.randint(1, 3) for sku in skus})
        order = await self._do("POST", "/orders", key, wanted)
        self.placed[key] = order["id"]
        if self.rng.random() < 0.1:
            return
        await self._do("POST", f"/orders/{order['id']}/complete", f"{key}-complete")
        self.completed.add(order["id"])
        if self.rng.random() < 0.25:
            address = ORDER["deliveryAddress"] | {"street": f"{self.rng.randrange(999)} Sejong-daero"}
            await self._do("PUT", f"/orders/{order['id']}/delivery-address", f"{key}-address", address)
        if self.rng.random() < 0.25:
            await self._do("POST", f"/orders/{order['id']}/cancel", f"{key}-cancel")

    def contradictions(self, stored: Stored) -> Iterator[str]:
        """Yield one sentence per acknowledgement that does not hold."""
        acknowledged = set(self.placed.values())
        for order_id in sorted(acknowledged - stored.keys()):
            yield f"order {order_id}: was acknowledged, but does not exist"
        for order_id in sorted(stored.keys() - acknowledged):
            yield f"order {order_id}: exists, but was never acknowledged"
        for order_id in sorted(self.completed & stored.keys()):
            if stored[order_id]["completedAt"] is None:
                yield f"order {order_id}: its completion was acknowledged, but is not stored"

    @stamina.retry(
        on=(httpx.TransportError, TemporaryFailure), attempts=None, timeout=60, wait_initial=0.1, wait_max=1
    )
    async def _do(self, method: str, path: str, key: str, body: Any = None) -> Any:
        self.requests += 1
        answer = await self.http.request(
            method, path, json=body, headers={"idempotency-key": key}, timeout=10
        )
        if answer.is_server_error:
            raise TemporaryFailure(f"{path}: {answer.status_code} {answer.text}")
        if answer.status_code != httpx.codes.CONFLICT:  # the order's state does not allow it: final
            answer.raise_for_status()
        return answer.json()


async def run_chaos(seed: int) -> int:
    """Return 0 if in the end no order is lost or doubled and nothing differs.

    Raises CannotStart, ProgramFailed and ServiceUnreadable.
    """
    stamina.instrumentation.set_on_retry_hooks([])  # the number of requests is printed instead
    with background_console() as console:
        return await _run(console, seed)


async def _run(console: Console, seed: int) -> int:
    rng = random.Random(seed)  # noqa: S311
    console.print(f"[bold]Chaos[/], seed {seed}: starting the system, logs in {FOLDER / 'logs'} …")
    async with _system_with_proxies(Ports.free()) as faults, _clients(faults.system) as (order, scm):
        await _stock(scm)
        customers = Customers(order, rng)
        await _inject_faults(console, faults, customers)
        healed = time.monotonic()
        stored: Stored = {}
        report = await compare_settled(
            order, scm, timeout=_SETTLE_TIMEOUT, observe=lambda each: stored.update({each["id"]: each})
        )
        found = [*customers.contradictions(stored), *report.differences]
        for difference in found[:MAX_SHOWN]:
            console.print(f"[red]✗[/] {difference}")
        if len(found) > MAX_SHOWN:
            console.print(f"  … and {len(found) - MAX_SHOWN} more")
        seconds = time.monotonic() - healed
        console.print(f"{'[red]✗[/] not' if found else '[green]✓[/]'} settled after {seconds:.1f} s")
        _summarise(console, customers, stored, report, await _redelivered(faults.system))
        return 1 if found else 0


async def _inject_faults(console: Console, faults: Faults, customers: Customers) -> None:
    """Inject every fault once, in an order that depends on the seed, while customers place orders.

    Return when all faults are over and the last customer is done.
    """
    console.print(f"{_ORDERS_PER_SECOND} orders a second under these faults:")
    done, began = asyncio.Event(), time.monotonic()
    sequence = list(faults.by_name().items())
    customers.rng.shuffle(sequence)

    def report(text: str, end: str = "\n") -> None:
        seconds = time.monotonic() - began
        console.print(f"  {seconds:5.0f} s  {len(customers.placed):4} orders  {text}", end=end)

    async with asyncio.TaskGroup() as group:
        group.create_task(customers.run(done))
        for name, fault in sequence:
            await asyncio.sleep(_PAUSE)
            report(f"{name:<37}", end="")
            injected = time.monotonic()
            await fault()
            console.print(f"for {time.monotonic() - injected:4.1f} s")
        done.set()
    report("all faults are over, no more orders")


def _summarise(
    console: Console, customers: Customers, stored: Stored, report: Report, redelivered: int
) -> None:
    acknowledged = set(customers.placed.values())
    lost, doubled = acknowledged - stored.keys(), stored.keys() - acknowledged
    console.print(
        f"{len(stored)} orders in {customers.requests} requests: "
        f"{len(lost)} lost, {len(doubled)} doubled, {report.count} differences"
    )
    console.print(
        f"{redelivered} messages redelivered before they were handled, "
        f"{report.duplicates} duplicates absorbed, {report.superseded} messages superseded"
    )


@asynccontextmanager
async def _system_with_proxies(ports: Ports) -> AsyncIterator[Faults]:
    """Run the system behind proxies, which stay open until its services have drained."""
    async with FaultProxy(ports["aws"]) as aws, FaultProxy(ports["adapter"]) as adapter:
        behind_proxy = {"AWS_ENDPOINT_URL": f"http://{HOST}:{aws.port}"}
        relaying = behind_proxy | {"ADAPTER_URL": f"http://{HOST}:{adapter.port}"}
        overrides = {"order": relaying, "adapter": behind_proxy, "scm": relaying}
        async with running_system(FOLDER, ports, fresh=True, overrides=overrides) as system:
            yield Faults(system, aws, adapter)


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
    for service in ("order", "scm"):
        connection = await asyncpg.connect(system.database_url(service))
        counts += await connection.fetchval(_REDELIVERED)
        await connection.close()
    return counts
