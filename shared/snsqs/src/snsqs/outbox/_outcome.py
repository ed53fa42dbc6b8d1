"""Outcome of a batch, written on the rows of its events."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from snsqs.cloudevents import EventResult
from snsqs.outbox._sink import OutboxEvent
from snsqs.sql import SqlConnection
from snsqs.tracing import trace_id_of

log = logging.getLogger(__name__)

_MAX_CHARACTERS = 2_000

# now() is the time of the claim, which began this transaction.
DECIDED = """
    UPDATE event_log
    SET decision = result.decision, rule = result.rule, message_id = result.message_id,
        relayed_at = now(), decided_at = result.decided_at, attempts = attempts + 1, last_error = NULL
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
        AS result (position, decision, rule, decided_at, message_id)
    WHERE event_log.position = result.position
"""

# Full jitter: drawn from 0 to 2 s · 2^attempts, at most 60 s.
RETRIED = """
    UPDATE event_log
    SET attempts = attempts + 1, last_error = result.error,
        next_attempt_at = clock_timestamp()
            + random() * least(60, 2 * 2 ^ least(attempts, 10)) * interval '1 second'
    FROM unnest($1::bigint[], $2::text[]) AS result (position, error)
    WHERE event_log.position = result.position
"""

PARKED = """
    UPDATE event_log
    SET attempts = attempts + 1, last_error = result.error, parked_at = clock_timestamp()
    FROM unnest($1::bigint[], $2::text[]) AS result (position, error)
    WHERE event_log.position = result.position
"""

POSTPONED = """
    UPDATE event_log
    SET last_error = result.error,
        next_attempt_at = clock_timestamp() + random() * $3::float8 * interval '1 second'
    FROM unnest($1::bigint[], $2::text[]) AS result (position, error)
    WHERE event_log.position = result.position
"""


class Decided(NamedTuple):
    """An event with a decision."""

    event: OutboxEvent
    result: EventResult


class Failed(NamedTuple):
    """An event without a decision, and the reason."""

    event: OutboxEvent
    error: str


def match_results(
    batch: Sequence[OutboxEvent], results: Sequence[EventResult]
) -> tuple[list[Decided], list[Failed]]:
    """Assign the results to the events of the batch. An event without a result has failed."""
    by_id = {result.id: result for result in results}
    decided, failed = [], []
    for event in batch:
        result = by_id.get(str(event.id))
        if result is None:
            failed.append(Failed(event, "no result for this event in the response"))
        elif result.decision == "failed":
            failed.append(Failed(event, result.error or "no reason given"))
        else:
            decided.append(Decided(event, result))
    return decided, failed


async def record_decided(connection: SqlConnection, decided: Sequence[Decided]) -> None:
    """Store the decisions. These events are done."""
    rows = [
        (
            event.position,
            result.decision,
            result.rule and _storable(result.rule),
            result.decided_at,
            result.message_id and _storable(result.message_id),
        )
        for event, result in decided
    ]
    await connection.execute(DECIDED, *map(list, zip(*rows, strict=True)))
    for event, result in decided:
        decision = result.decision.replace("_", " ")
        log.info("relayed: %s", decision, extra={"rule": result.rule, **_fields(event)})


async def record_failed(connection: SqlConnection, failed: Sequence[Failed], *, max_attempts: int) -> None:
    """Count the attempt, and retry with growing delay. After `max_attempts` the event is parked."""
    retried = [each for each in failed if each.event.attempts + 1 < max_attempts]
    parked = [each for each in failed if each.event.attempts + 1 >= max_attempts]
    if retried:
        await connection.execute(RETRIED, *_positions_and_errors(retried))
    if parked:
        await connection.execute(PARKED, *_positions_and_errors(parked))
    for event, error in retried:
        log.warning("event not relayed", extra={"error": error, **_fields(event)})
    for event, error in parked:
        attempts = event.attempts + 1
        log.error("event parked", extra={"error": error, "attempts": attempts, **_fields(event)})


async def postpone(connection: SqlConnection, failed: Sequence[Failed], *, max_delay: float) -> None:
    """Retry within `max_delay` seconds without counting an attempt, because the sink is not ready."""
    await connection.execute(POSTPONED, *_positions_and_errors(failed), max_delay)


def _positions_and_errors(failed: Sequence[Failed]) -> tuple[list[int], list[str]]:
    return [event.position for event, _ in failed], [_storable(error) for _, error in failed]


def _storable(text: str) -> str:
    """Return a text of an answer or an error as PostgreSQL can store it, and not longer than it is useful:
    one that cannot be stored would stop the relay."""
    return text[:_MAX_CHARACTERS].replace("\0", "\ufffd").encode(errors="replace").decode()


def _fields(event: OutboxEvent) -> dict[str, str]:
    fields = {"event_id": str(event.id), "event_type": event.type, "subject": event.subject}
    return fields | ({"trace_id": trace_id_of(event.traceparent)} if event.traceparent else {})
