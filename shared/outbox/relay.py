"""Relay: takes events from the log to the adapter, and writes the adapter's decision on each.

A batch is claimed with FOR UPDATE SKIP LOCKED in a transaction that stays open while the adapter works
(`send_timeout` bounds it), so any number of relays share the log, and the claims of one that dies are free
at once. What dies between the adapter's answer and the commit is sent again: at least once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
import httpx
import structlog
from prometheus_client import Gauge
from pydantic import AwareDatetime, ValidationError

from shared.domain_event import WireModel
from shared.messaging.backoff import full_jitter
from shared.outbox.event_log import CHANNEL
from shared.postgres import Connection, Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

_EVENTS_WAITING = Gauge("outbox_events_waiting", "Events that are not relayed yet.")
_OLDEST_SECONDS = Gauge("outbox_oldest_seconds", "How long the oldest of them has waited.")

_REFUSED = {httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY}

CLAIM = """
    SELECT position, id, type, subject, sequence, occurred_at, traceparent, data, attempts
    FROM event_log
    WHERE decision IS NULL AND next_attempt_at <= now()
    ORDER BY next_attempt_at, position
    LIMIT $1
    FOR UPDATE SKIP LOCKED
"""

# now() is the time of the claim, which began this transaction.
DECIDED = """
    UPDATE event_log
    SET decision = result.decision, rule = result.rule, message_id = result.message_id,
        relayed_at = now(), decided_at = result.decided_at, attempts = attempts + 1, last_error = NULL
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
        AS result (position, decision, rule, decided_at, message_id)
    WHERE event_log.position = result.position
"""

# Full jitter: a wait drawn from the whole span of 2 s · 2^attempts, at most 60 s.
FAILED = """
    UPDATE event_log
    SET attempts = attempts + 1, last_error = result.error,
        next_attempt_at = clock_timestamp()
            + random() * least(60, 2 * 2 ^ least(attempts, 10)) * interval '1 second'
    FROM unnest($1::bigint[], $2::text[]) AS result (position, error)
    WHERE event_log.position = result.position
"""

WAITING = """
    SELECT count(*) AS events,
           coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS oldest_seconds
    FROM event_log
    WHERE decision IS NULL
"""


@dataclass(frozen=True)
class RelayOptions:
    """The times are seconds."""

    batch: int = 100
    batch_bytes: int = 4 * 1024 * 1024
    send_timeout: float = 5.0
    poll: float = 5.0
    """How often the log is read without being woken, a net under LISTEN/NOTIFY and for what waits to be
    tried again."""
    retry_most: float = 10.0
    """The longest wait while the adapter or the database is away."""


class AdapterUnavailable(Exception):
    """The adapter did not answer, or not for the batch as a whole. No event is to blame; all of them wait."""


class BatchRefused(Exception):
    """The adapter refused the batch as it is (a 4xx answer). One of its events may be the reason."""


class Result(WireModel):
    """What the adapter answered for one event."""

    id: str
    decision: Literal["forwarded", "held_back", "failed"]
    rule: str | None = None
    decided_at: AwareDatetime
    message_id: str | None = None
    error: str | None = None


class Answer(WireModel):
    results: list[Result]


@dataclass(frozen=True)
class Waiting:
    """What is still to be relayed."""

    events: int
    oldest_seconds: float


class Relay:
    """Relays a service's events until it is stopped. Any number may run on one log."""

    def __init__(
        self,
        database: Database,
        http: httpx.AsyncClient,
        *,
        adapter_url: str,
        source: str,
        options: RelayOptions | None = None,
    ) -> None:
        self.trouble: str | None = None
        """Why nothing is relayed just now, or None while all is well."""
        self._database = database
        self._http = http
        self._url = f"{adapter_url.rstrip('/')}/events"
        self._source = source
        self._options = options or RelayOptions()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claims nothing more; `run` returns after the batch that is under way."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Relays what waits, then rests until a commit or the slow poll wakes it."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen())
            try:
                await self._relay_until_stopped()
            finally:
                listening.cancel()

    async def waiting(self) -> Waiting:
        """How many events wait to be relayed, and for how many seconds the oldest has waited."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(WAITING)
        assert row is not None
        return Waiting(events=row["events"], oldest_seconds=row["oldest_seconds"])

    async def measure(self) -> None:
        """Brings the gauges on `/metrics` up to date."""
        waiting = await self.waiting()
        _EVENTS_WAITING.set(waiting.events)
        _OLDEST_SECONDS.set(waiting.oldest_seconds)

    async def _relay_until_stopped(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                while not self._stopping.is_set() and await self._relay_batch():
                    pass
            except (AdapterUnavailable, DatabaseUnavailable) as error:
                failures += 1
                pause = full_jitter(failures, first=1, most=self._options.retry_most, least=0.5)
                self.trouble = str(error) or type(error).__name__
                log.warning("relay waits", error=self.trouble, retry_in=round(pause, 1))
                await self._rest(pause, until=self._stopping)
            else:
                failures, self.trouble = 0, None
                await self._rest(self._options.poll, until=self._wake)

    async def _rest(self, seconds: float, until: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await until.wait()

    async def _listen(self) -> None:
        """Wakes the relay on every commit that appended events. While it has no connection, the slow poll
        does that."""
        while True:
            with suppress(DatabaseUnavailable):
                async with (
                    self._database.connection() as connection,
                    _notified(connection, self._wake) as lost,
                ):
                    self._wake.set()  # for what was committed while nobody listened
                    await lost.wait()
            await asyncio.sleep(1)

    async def _relay_batch(self) -> bool:
        """Claims a batch, has it decided and writes that down. False when nothing more is waiting."""
        async with self._database.connection() as connection, connection.transaction():
            claimed = await connection.fetch(CLAIM, self._options.batch)
            batch = self._within_the_bytes(claimed)
            if batch:
                await _record(connection, batch, await self._decide(batch))
        return len(batch) < len(claimed) or len(claimed) == self._options.batch

    def _within_the_bytes(self, claimed: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
        used = 0
        for count, event in enumerate(claimed):
            used += len(event["data"])
            if used > self._options.batch_bytes and count:
                return claimed[:count]
        return claimed

    async def _decide(self, batch: Sequence[asyncpg.Record]) -> list[Result]:
        """The adapter's results. A batch that it refuses is halved until the event to blame stands alone."""
        try:
            return await self._send(batch)
        except BatchRefused as error:
            if len(batch) == 1:
                return [_refused(batch[0], error)]
            half = len(batch) // 2
            return [*await self._decide(batch[:half]), *await self._decide(batch[half:])]

    async def _send(self, batch: Sequence[asyncpg.Record]) -> list[Result]:
        try:
            response = await self._http.post(
                self._url,
                content=json.dumps([_cloud_event(event, self._source) for event in batch]),
                headers={"content-type": "application/cloudevents-batch+json"},
                timeout=self._options.send_timeout,
            )
        except httpx.TransportError as error:
            raise AdapterUnavailable(f"adapter at {self._url}: {error!r}") from error
        if response.status_code in _REFUSED:
            raise BatchRefused(f"the adapter answered {response.status_code}: {response.text[:500]}")
        if response.status_code != httpx.codes.OK:
            raise AdapterUnavailable(f"adapter at {self._url}: HTTP {response.status_code}")
        try:
            return Answer.model_validate_json(response.content).results
        except ValidationError as error:
            raise AdapterUnavailable(f"adapter at {self._url}: not an answer to a batch: {error}") from error


@asynccontextmanager
async def _notified(connection: Connection, wake: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """Sets `wake` on every notification; yields an event that is set when the connection is lost."""
    lost = asyncio.Event()

    def on_notification(*_: object) -> None:
        wake.set()

    def on_termination(*_: object) -> None:
        lost.set()

    await connection.add_listener(CHANNEL, on_notification)
    connection.add_termination_listener(on_termination)
    try:
        yield lost
    finally:
        connection.remove_termination_listener(on_termination)
        if not connection.is_closed():
            await connection.remove_listener(CHANNEL, on_notification)


async def _record(connection: Connection, batch: Sequence[asyncpg.Record], results: Sequence[Result]) -> None:
    by_id = {result.id: result for result in results}
    decided: list[tuple[int, str, str | None, datetime, str | None]] = []
    failed: list[tuple[int, str]] = []
    for event in batch:
        result = by_id.get(str(event["id"]))
        _tell(event, result)
        if result is None or result.decision == "failed":
            error = result.error if result else "the adapter's answer does not mention this event"
            failed.append((event["position"], error or "no reason given"))
        else:
            decided.append(
                (event["position"], result.decision, result.rule, result.decided_at, result.message_id)
            )
    if decided:
        await connection.execute(DECIDED, *map(list, zip(*decided, strict=True)))
    if failed:
        await connection.execute(FAILED, *map(list, zip(*failed, strict=True)))


def _refused(event: asyncpg.Record, error: BatchRefused) -> Result:
    return Result(id=str(event["id"]), decision="failed", decided_at=datetime.now(UTC), error=str(error))


def _tell(event: asyncpg.Record, result: Result | None) -> None:
    about = {"event_id": str(event["id"]), "event_type": event["type"], "order_id": event["subject"]}
    if result is None or result.decision == "failed":
        log.warning("event not taken by the adapter", error=result.error if result else None, **about)
    else:
        log.info(f"relayed: {result.decision.replace('_', ' ')}", rule=result.rule, **about)


def _cloud_event(event: asyncpg.Record, source: str) -> dict[str, Any]:
    """A row of the log as a CloudEvent (https://github.com/cloudevents/spec, JSON batch format)."""
    attributes = {
        "specversion": "1.0",
        "id": str(event["id"]),
        "source": source,
        "type": event["type"],
        "subject": event["subject"],
        "time": event["occurred_at"].isoformat(),
        "sequence": str(event["sequence"]),
        "datacontenttype": "application/json",
        "data": json.loads(event["data"]),
    }
    return attributes | ({"traceparent": event["traceparent"]} if event["traceparent"] else {})
