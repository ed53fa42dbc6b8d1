"""Relay: takes events from the log to the adapter, and writes the adapter's decision on each.

A batch is claimed with FOR UPDATE SKIP LOCKED in a transaction that stays open while the adapter works
(`send_timeout` bounds each call), so any number of relays share the log, and the claims of one that dies
are free at once. What dies between the adapter's answer and the commit is sent again: at least once.

An event that the adapter answers as failed waits alone, longer each time, and is parked after
`max_attempts`. While the adapter is away, or says on `/readyz` that it is not ready, no event is to blame
and no attempt is counted.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import httpx
import structlog
from prometheus_client import Gauge

from snsqs.background import PollingLoop
from snsqs.outbox import _backlog as backlog
from snsqs.outbox import _outcome as outcome
from snsqs.outbox._adapter import AdapterClient, AdapterUnavailable, BatchFailed, Result, failed
from snsqs.outbox._event_log import EventLog
from snsqs.postgres import Connection, Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

_EVENTS_WAITING = Gauge("outbox_events_waiting", "Events that are not relayed yet.")
_EVENTS_PARKED = Gauge("outbox_events_parked", "Events that failed too often and wait to be resubmitted.")
_OLDEST_SECONDS = Gauge("outbox_oldest_seconds", "How long the oldest event that is not relayed has waited.")

_CALLS_MOST = 6
"""How many send timeouts a batch may take with all calls of its halves; its claim is open that long."""

# An event that was never tried is due since -infinity, so however many fail and come due again, new ones
# are claimed before them.
CLAIM = """
    SELECT position, id, type, subject, sequence, occurred_at, traceparent, data, attempts
    FROM event_log
    WHERE decision IS NULL AND parked_at IS NULL AND next_attempt_at <= now()
    ORDER BY next_attempt_at, position
    LIMIT $1
    FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True)
class RelayOptions:
    """The times are seconds."""

    batch_size: int = 100
    max_batch_bytes: int = 4 * 1024 * 1024
    send_timeout: float = 5.0
    poll_interval: float = 5.0
    """How often the log is read without being woken: for what waits to be tried again, and for what a process
    left that died before it relayed."""
    max_backoff: float = 10.0
    """The longest wait while the adapter or the database is away, or the adapter is not ready."""
    max_attempts: int = 20
    """After so many failures of its own an event is parked; with the growing delay, 20 take 8 minutes."""


class Relay(PollingLoop):
    """Relays a service's events until it is stopped. Any number may run on one log; each is woken by what
    its own process logs in `event_log`."""

    def __init__(
        self,
        database: Database,
        http: httpx.AsyncClient,
        event_log: EventLog,
        *,
        adapter_url: str,
        headers: Mapping[str, str],
        source: str,
        options: RelayOptions | None = None,
        observer: Callable[[str], None] | None = None,
    ) -> None:
        self._database = database
        self._options = options or RelayOptions()
        self._adapter = AdapterClient(
            http, adapter_url, headers=headers, source=source, timeout=self._options.send_timeout
        )
        self._limit = self._options.batch_size
        self._observer = observer
        super().__init__(
            "relay",
            self._relay_batch,
            interval=self._options.poll_interval,
            retry_on=(AdapterUnavailable, DatabaseUnavailable),
            max_backoff=self._options.max_backoff,
            wake=event_log.due,
        )

    async def waiting(self) -> backlog.Waiting:
        """How much is still to be relayed, and how much is parked."""
        async with self._database.connection() as connection:
            return await backlog.waiting(connection)

    async def measure(self) -> None:
        """Brings the gauges on `/metrics` up to date."""
        waiting = await self.waiting()
        _EVENTS_WAITING.set(waiting.events)
        _EVENTS_PARKED.set(waiting.parked)
        _OLDEST_SECONDS.set(waiting.oldest_seconds)

    async def _relay_batch(self) -> bool:
        """Claims a batch, has it decided and writes that down. False when nothing more is waiting."""
        limit, is_ready = self._limit, True
        async with self._database.connection() as connection, connection.transaction():
            claimed = await connection.fetch(CLAIM, limit)
            batch = self._within_the_bytes(claimed)
            if batch:
                is_ready = await self._record(connection, batch, await self._decide(batch))
        if not is_ready:
            raise AdapterUnavailable("the adapter is not ready")
        self._limit = min(self._options.batch_size, limit * 2)
        return len(batch) < len(claimed) or len(claimed) == limit

    async def _decide(self, batch: Sequence[asyncpg.Record]) -> list[Result]:
        """A batch that the adapter breaks on is claimed again by halves, until the event to blame stands
        alone and fails alone; provided that the adapter is well otherwise."""
        try:
            async with asyncio.timeout(_CALLS_MOST * self._options.send_timeout):
                return await self._adapter.decide(batch)
        except TimeoutError as error:
            raise AdapterUnavailable("the adapter is too slow with a batch that it refused") from error
        except BatchFailed as error:
            if len(batch) > 1 or not await self._adapter.is_ready():
                self._limit = max(1, len(batch) // 2)
                raise
            return [failed(batch[0], error)]

    def _within_the_bytes(self, claimed: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
        used = 0
        for count, event in enumerate(claimed):
            used += len(event["data"])
            if used > self._options.max_batch_bytes and count:
                return claimed[:count]
        return claimed

    async def _record(
        self, connection: Connection, batch: Sequence[asyncpg.Record], results: Sequence[Result]
    ) -> bool:
        """Whether the adapter is ready, as far as that had to be asked."""
        decided, not_taken = outcome.by_event(batch, results)
        if self._observer is not None:
            for result in results:
                self._observer(result.decision)
        if decided:
            await outcome.record_decided(connection, decided)
        if not not_taken:
            return True
        if is_ready := await self._adapter.is_ready():
            await outcome.record_failed(connection, not_taken, max_attempts=self._options.max_attempts)
        else:
            await outcome.postpone(connection, not_taken, most=self._options.max_backoff)
        return is_ready
