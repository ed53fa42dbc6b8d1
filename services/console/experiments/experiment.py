"""Experiments: a fault with a prediction, orders under the fault, and the measured verdict."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from snsqs import WireModel

from services.console.experiments.customers import Customers
from services.console.experiments.queue import QUEUE, ExperimentQueue
from services.console.registry import Registry

log = structlog.get_logger(__name__)

ORDERS = 10
_FAULT_DURATION = 4.0
"""Seconds that a fault lasts after the orders are placed, so that it is visible."""
_SETTLE_TIMEOUT = 40.0
_COUNT_TIMEOUT = 10.0


class Verdict(WireModel):
    """Measurement of a run. `said` is its summary."""

    as_predicted: bool
    lost: int
    """Orders without an invoice after the timeout."""
    doubled: int
    """Orders with more than one invoice."""
    duplicates_absorbed: int
    dead_letters: int
    seconds: float
    """From the end of the fault until every order had its invoice."""
    said: str


class Report(WireModel):
    """An experiment and its last run."""

    id: str
    title: str
    prediction: str
    running: str | None = None
    """Current step, while it runs."""
    verdict: Verdict | None = None
    error: str | None = None
    """Why the last run has no verdict."""


class Busy(Exception):
    """Another experiment runs; two concurrent faults cannot be told apart. Retry when it is done."""


class UnknownExperiment(Exception):
    """There is no experiment with this id."""


@dataclass(frozen=True)
class _Experiment:
    title: str
    prediction: str
    fault: "Callable[[Laboratory, str], AbstractAsyncContextManager[None]]"
    duplicates: int = 0
    """Minimum of absorbed duplicates."""
    dead_letters: int = 0


class Laboratory:
    """Runs one experiment at a time. Closing it cancels a running one and ends its fault."""

    def __init__(self, registry: Registry, customers: Customers, queue: ExperimentQueue) -> None:
        self.customers = customers
        self.queue = queue
        self._registry = registry
        self._reports = {
            name: Report(id=name, title=each.title, prediction=each.prediction)
            for name, each in _EXPERIMENTS.items()
        }
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Laboratory":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    def reports(self) -> list[Report]:
        return list(self._reports.values())

    def start(self, name: str, authorization: str) -> Report:
        """Begin an experiment and return at once. It acts with the operator's `authorization` header. Raises
        Busy and UnknownExperiment."""
        if name not in _EXPERIMENTS:
            raise UnknownExperiment(f"there is no experiment {name!r}")
        if self._running is not None and not self._running.done():
            raise Busy("another experiment is running")
        self._set_step(name, "putting demo articles into stock")
        self._running = asyncio.create_task(self._run(name, authorization))
        return self._reports[name]

    async def _run(self, name: str, authorization: str) -> None:
        try:
            verdict = await self._measured(name, authorization)
        except Exception as error:
            log.warning("experiment failed", experiment=name, exc_info=True)
            self._reports[name] = self._report(name, error=str(error) or type(error).__name__)
        else:
            self._reports[name] = self._report(name, verdict=verdict)

    async def _measured(self, name: str, authorization: str) -> Verdict:
        experiment = _EXPERIMENTS[name]
        await self.customers.stock(authorization)
        dead_before = await self.queue.dead_letters()
        async with experiment.fault(self, authorization):
            self._set_step(name, f"the fault is on; {ORDERS} orders are being placed")
            orders = await self.customers.buy_many(ORDERS)
            self._set_step(name, f"{ORDERS} orders were taken; the fault goes on for {_FAULT_DURATION:g} s")
            await asyncio.sleep(_FAULT_DURATION)
        self._set_step(name, "the fault is over; waiting for every order's invoice")
        began = time.monotonic()
        lost = await self._unprepared(orders)
        seconds = time.monotonic() - began
        self._set_step(name, "counting")

        async def dead_letters() -> int:
            return await self.queue.dead_letters() - dead_before

        async def duplicates() -> int:
            return sum([await self.customers.duplicates(order) for order in orders])

        dead = await _once_enough(dead_letters, experiment.dead_letters)
        absorbed = await _once_enough(duplicates, experiment.duplicates)
        doubled = sum([await self.customers.invoices(order) > 1 for order in orders])
        return _verdict(experiment, lost, doubled, absorbed, dead, seconds)

    async def _unprepared(self, orders: list[str]) -> int:
        waiting = list(orders)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_TIMEOUT):
                while waiting:
                    waiting = [each for each in waiting if not await self.customers.is_prepared(each)]
                    await asyncio.sleep(0.2)
        return len(waiting)

    def _set_step(self, name: str, doing: str) -> None:
        self._reports[name] = self._report(name, running=doing)

    def _report(self, name: str, **changes: object) -> Report:
        return Report.model_validate(
            {"id": name, "title": _EXPERIMENTS[name].title, "prediction": _EXPERIMENTS[name].prediction}
            | changes
        )

    @asynccontextmanager
    async def scm_paused(self, authorization: str) -> AsyncIterator[None]:
        await self.customers.listening(QUEUE, "pause", authorization)
        try:
            yield
        finally:
            await self.customers.listening(QUEUE, "resume", authorization)

    @asynccontextmanager
    async def adapter_refuses(self, authorization: str) -> AsyncIterator[None]:
        async with self._adapter_fault(authorization, refuses=True):
            yield

    @asynccontextmanager
    async def everything_twice(self, authorization: str) -> AsyncIterator[None]:
        async with self._adapter_fault(authorization, copies=2):
            yield

    @asynccontextmanager
    async def _adapter_fault(self, authorization: str, **fault: bool | int) -> AsyncIterator[None]:
        try:
            await self._set_adapter_fault(authorization, fault)
            yield
        finally:
            await self._set_adapter_fault(authorization, {})

    async def _set_adapter_fault(self, authorization: str, fault: Mapping[str, bool | int]) -> None:
        """Set the fault of every instance of the adapter."""
        for instance in await self._registry.instances("adapter"):
            await instance.with_headers({"authorization": authorization}).send("PUT", "/faults", fault)

    @asynccontextmanager
    async def malformed_message(self, _: str) -> AsyncIterator[None]:
        await self.queue.send_malformed()
        yield


_EXPERIMENTS = {
    "pause-scm": _Experiment(
        "Pause SCM",
        f"Orders are taken as ever; their messages wait in SCM's queue. Resumed, it works them off: "
        f"{ORDERS} invoices, 0 lost, no dead letter.",
        Laboratory.scm_paused,
    ),
    "adapter-refuses": _Experiment(
        "Make the adapter refuse",
        f"Orders are taken as ever; their events wait in the Order service's outbox, and no attempt is held "
        f"against them. Then all leave: {ORDERS} invoices, 0 lost, no dead letter.",
        Laboratory.adapter_refuses,
    ),
    "everything-twice": _Experiment(
        "Send every message twice",
        f"The inboxes absorb at least {ORDERS} duplicates; every order has exactly one invoice.",
        Laboratory.everything_twice,
        duplicates=ORDERS,
    ),
    "poison": _Experiment(
        "Poison a message",
        f"It goes to the dead letters at once, with the reason, and holds nobody up: {ORDERS} invoices, "
        "0 lost, 1 dead letter.",
        Laboratory.malformed_message,
        dead_letters=1,
    ),
}


async def _once_enough(count: Callable[[], Awaitable[int]], expected: int) -> int:
    """Return the count once it is as expected, or after a timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_COUNT_TIMEOUT):
            while await count() < expected:
                await asyncio.sleep(0.2)
    return await count()


def _verdict(
    experiment: _Experiment, lost: int, doubled: int, duplicates: int, dead_letters: int, seconds: float
) -> Verdict:
    as_predicted = (
        lost == doubled == 0
        and duplicates >= experiment.duplicates
        and dead_letters == experiment.dead_letters
    )
    said = (
        f"{lost} lost, {doubled} doubled, {duplicates} duplicates absorbed, {dead_letters} in dead letters; "
        f"settled {seconds:.1f} s after the fault"
    )
    return Verdict(
        as_predicted=as_predicted,
        lost=lost,
        doubled=doubled,
        duplicates_absorbed=duplicates,
        dead_letters=dead_letters,
        seconds=round(seconds, 2),
        said=said,
    )
