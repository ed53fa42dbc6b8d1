"""Relay: publishes the events of the log, and records the decision on each.

A batch is claimed with FOR UPDATE SKIP LOCKED in a transaction that stays open while the sink works
(`publish_timeout` limits each call), so any number of relays share the log, and the claims of a process that
dies are released at once. Events published before the commit is lost are published again: at least once.

An event that fails is retried alone, with growing delay, and parked after `max_attempts`. While the sink is
unavailable or not ready, no event is the cause and no attempt is counted.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.metrics import get_meter

from snsqs._errors import error_reason
from snsqs._ranges import require_integer, require_seconds
from snsqs.background import MIN_INTERVAL, PollingLoop
from snsqs.cloudevents import EventResult
from snsqs.outbox import _outcome as outcome
from snsqs.outbox._backlog import Backlog, read_backlog
from snsqs.outbox._event_log import EventLog
from snsqs.outbox._sink import BatchFailed, BatchRejected, EventSink, OutboxEvent, SinkUnavailable
from snsqs.sql import DatabaseUnavailable, SqlConnection, SqlRow, TransactionManager

if TYPE_CHECKING:
    from snsqs.postgres import Database

log = logging.getLogger(__name__)

_meter = get_meter("snsqs")
_events_waiting = _meter.create_gauge("outbox_events_waiting", description="Events that are not relayed yet.")
_events_parked = _meter.create_gauge(
    "outbox_events_parked", description="Events that failed too often and wait to be resubmitted."
)
_oldest_seconds = _meter.create_gauge(
    "outbox_oldest_seconds", description="How long the oldest event that is not relayed has waited."
)

# An event that was never tried is due since -infinity, so new ones are claimed before any number of events
# that have failed and are due again.
CLAIM = """
    SELECT position, id, type, subject, sequence, occurred_at, traceparent, tracestate,
           data::text AS data, attempts
    FROM event_log
    WHERE decision IS NULL AND parked_at IS NULL AND next_attempt_at <= now()
    ORDER BY next_attempt_at, position
    LIMIT $1
    FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True)
class RelayOptions:
    """Limits and times of a Relay. The times are seconds. Raises ValueError for values that cannot work."""

    batch_size: int = 100
    """Events per batch."""
    max_batch_bytes: int = 4 * 1024 * 1024
    """Bytes of event data per batch; a larger event is sent alone."""
    publish_timeout: float = 5.0
    """Time for one call of the sink, and so the time that claimed events are unavailable to other relays."""
    poll_interval: float = 5.0
    """Time between reads of the log without a signal: for events that are due again, and for those of a
    process that died before relaying them."""
    max_backoff: float = 10.0
    """Longest wait while the sink or the database is unavailable."""
    max_attempts: int = 20
    """Failures after which an event is parked; with the growing delay, 20 take 8 minutes."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_batch_bytes", "max_attempts"):
            require_integer(self, name, minimum=1)
        for name in ("publish_timeout", "poll_interval", "max_backoff"):
            require_seconds(self, name, minimum=MIN_INTERVAL)


class Relay(PollingLoop):
    """Relays a service's events until it is stopped. Any number of relays may share one log; each is woken
    by the commits of its own process."""

    def __init__(
        self,
        database: "TransactionManager | Database",
        event_log: EventLog,
        sink: EventSink,
        *,
        options: RelayOptions | None = None,
        observer: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            database: pool with at least one connection for the relay; see `snsqs.sql`.
            event_log: wakes the relay when it appends events.
            sink: destination of the events.
            observer: called with the decision of every result: `forwarded`, `held_back` or `failed`. It must
                be quick and must not raise.
        """
        self._database: TransactionManager = database
        self._sink = sink
        self._options = options or RelayOptions()
        self._observer = observer
        self._limit = self._options.batch_size
        super().__init__(
            "relay",
            self.relay_batch,
            interval=self._options.poll_interval,
            retry_on=(SinkUnavailable, DatabaseUnavailable),
            max_backoff=self._options.max_backoff,
            wake=event_log.wake,
        )

    async def backlog(self) -> Backlog:
        """Return how many events wait and how many are parked. Raises DatabaseUnavailable."""
        async with self._database.transaction() as tx:
            return await read_backlog(tx.connection)

    async def measure(self) -> None:
        """Update the gauges `outbox_events_waiting`, `outbox_events_parked` and `outbox_oldest_seconds`.
        Raises DatabaseUnavailable."""
        backlog = await self.backlog()
        _events_waiting.set(backlog.waiting)
        _events_parked.set(backlog.parked)
        _oldest_seconds.set(backlog.oldest_seconds)

    async def relay_batch(self) -> bool:
        """Claim a batch, publish it and record the outcome. Return whether more events may be due.

        Raises SinkUnavailable and DatabaseUnavailable.
        """
        limit = self._limit
        not_ready: str | None = None
        try:
            async with self._database.transaction() as tx:
                claimed = await self._claim(tx.connection, limit)
                batch = self._within_max_bytes(claimed)
                if batch:
                    not_ready = await self._record(tx.connection, batch, await self._publish(batch))
        except BatchRejected:
            return True
        if not_ready is not None:
            raise SinkUnavailable(f"{self._sink} is not ready: {not_ready}")
        self._limit = min(self._options.batch_size, limit * 2)
        return len(batch) < len(claimed) or len(claimed) == limit

    async def _claim(self, connection: SqlConnection, limit: int) -> list[OutboxEvent]:
        return [_event(row) for row in await connection.fetch(CLAIM, limit)]

    async def _publish(self, batch: Sequence[OutboxEvent]) -> Sequence[EventResult]:
        """Publish the batch. A batch that fails as a whole is claimed again by halves, until the event that
        is the cause stands alone and fails alone."""
        try:
            return await self._publish_in_time(batch)
        except (BatchFailed, BatchRejected) as error:
            if len(batch) == 1:
                return [EventResult(id=str(batch[0].id), decision="failed", error=str(error))]
            self._limit = len(batch) // 2
            raise

    async def _publish_in_time(self, batch: Sequence[OutboxEvent]) -> Sequence[EventResult]:
        try:
            async with asyncio.timeout(self._options.publish_timeout):
                return await self._sink.publish(batch)
        except TimeoutError as error:
            seconds = f"{self._options.publish_timeout:g} s"
            raise BatchFailed(f"{self._sink}: no answer within {seconds}") from error
        except (SinkUnavailable, BatchRejected):
            raise
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a defect of the sink, perhaps a panic, and with one event only
            log.exception("sink failed")
            raise BatchFailed(f"{self._sink}: {error_reason(error)}") from error

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(self._options.publish_timeout):
                return await self._sink.is_ready()
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("sink failed")
            return False

    def _within_max_bytes(self, claimed: Sequence[OutboxEvent]) -> Sequence[OutboxEvent]:
        size = 0
        for count, event in enumerate(claimed):
            size += len(event.data)
            if size > self._options.max_batch_bytes and count:
                return claimed[:count]
        return claimed

    async def _record(
        self, connection: SqlConnection, batch: Sequence[OutboxEvent], results: Sequence[EventResult]
    ) -> str | None:
        """Record the outcome. Return the error of an event if the sink is not ready, which is asked only
        after a failure."""
        decided, failed = outcome.match_results(batch, results)
        if self._observer is not None:
            for result in results:
                self._observer(result.decision)
        if decided:
            await outcome.record_decided(connection, decided)
        if not failed:
            return None
        if await self._is_ready():
            await outcome.record_failed(connection, failed, max_attempts=self._options.max_attempts)
            return None
        await outcome.postpone(connection, failed, max_delay=self._options.max_backoff)
        return failed[0].error


def _event(row: SqlRow) -> OutboxEvent:
    return OutboxEvent(**dict(row))
