"""Meter: resources that a process uses while it works, without its start and end."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioboto3
from aiobotocore.config import AioConfig
from snsqs import AwsClients

from benchmarks.event import REGION

WARM_UP = 300
"""Messages that are not measured: after them connections are open and caches filled."""


class Meter:
    """Per message: seconds, CPU seconds (user and system) and AWS calls, of `count` after the warm-up."""

    def __init__(self, clients: AwsClients, count: int) -> None:
        self._handled = 0
        self._calls = 0
        self._first, self._last = WARM_UP, WARM_UP + count
        self._began, self._ended = [0.0], [0.0]
        self._done = asyncio.Event()
        for client in (clients.sns, clients.sqs):
            client.meta.events.register("before-call.*.*", self._count_call)

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def handled(self, messages: int = 1) -> None:
        """Count further handled messages."""
        before, self._handled = self._handled, self._handled + messages
        if before < self._first <= self._handled:
            self._began = self._reading()
        if before < self._last <= self._handled:
            self._ended = self._reading()
            self._done.set()

    async def result(self) -> dict[str, float]:
        """Wait for the last message and return the result."""
        await self._done.wait()
        messages, *used = (ended - began for began, ended in zip(self._began, self._ended, strict=True))
        return dict(zip(("seconds", "cpu", "calls"), (each / messages for each in used), strict=True))

    def _reading(self) -> list[float]:
        return [self._handled, time.perf_counter(), cpu_seconds(), self._calls]

    def _count_call(self, **_: object) -> None:
        self._calls += 1


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@asynccontextmanager
async def plain_clients(url: str) -> AsyncIterator[AwsClients]:
    """Open the SDK's clients with their default settings."""
    session, config = aioboto3.Session(region_name=REGION), AioConfig(max_pool_connections=50)
    async with (
        session.client("sns", endpoint_url=url, config=config) as sns,
        session.client("sqs", endpoint_url=url, config=config) as sqs,
    ):
        yield AwsClients(sns, sqs)
