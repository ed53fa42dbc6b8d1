"""Outcome: what became of a batch, written on each of its events."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import structlog

from snsqs.outbox._adapter import Result
from snsqs.postgres import Connection
from snsqs.tracing import trace_id_of

log = structlog.get_logger(__name__)

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
    """An event of which the adapter decided whether it leaves."""

    event: asyncpg.Record
    result: Result


class Failed(NamedTuple):
    """An event that the adapter could not finish, and why."""

    event: asyncpg.Record
    error: str


def by_event(
    batch: Sequence[asyncpg.Record], results: Sequence[Result]
) -> tuple[list[Decided], list[Failed]]:
    """Finds the result of each event. One that the adapter does not mention has failed."""
    by_id = {result.id: result for result in results}
    decided, failed = [], []
    for event in batch:
        result = by_id.get(str(event["id"]))
        if result is None:
            failed.append(Failed(event, "the adapter's answer does not mention this event"))
        elif result.decision == "failed":
            failed.append(Failed(event, result.error or "no reason given"))
        else:
            decided.append(Decided(event, result))
    return decided, failed


async def record_decided(connection: Connection, decided: Sequence[Decided]) -> None:
    """Writes the adapter's decision on the events; they are done."""
    rows = [
        (event["position"], result.decision, result.rule, result.decided_at, result.message_id)
        for event, result in decided
    ]
    await connection.execute(DECIDED, *map(list, zip(*rows, strict=True)))
    for event, result in decided:
        log.info(f"relayed: {result.decision.replace('_', ' ')}", rule=result.rule, **_about(event))


async def record_failed(connection: Connection, failed: Sequence[Failed], *, max_attempts: int) -> None:
    """Counts the attempt. The event waits, longer each time, and is parked after the last one."""
    waiting = [each for each in failed if each.event["attempts"] + 1 < max_attempts]
    parked = [each for each in failed if each.event["attempts"] + 1 >= max_attempts]
    if waiting:
        await connection.execute(FAILED, *_positions_and_errors(waiting))
    if parked:
        await connection.execute(PARKED, *_positions_and_errors(parked))
    for event, error in waiting:
        log.warning("event not taken by the adapter", error=error, **_about(event))
    for event, error in parked:
        log.error("event parked", error=error, attempts=event["attempts"] + 1, **_about(event))


async def postpone(connection: Connection, failed: Sequence[Failed], *, most: float) -> None:
    """The adapter itself is not ready: the events wait, at most so many seconds, and nothing is counted."""
    await connection.execute(POSTPONED, *_positions_and_errors(failed), most)
    for event, error in failed:
        log.warning("event waits until the adapter is ready", error=error, **_about(event))


def _positions_and_errors(failed: Sequence[Failed]) -> tuple[list[int], list[str]]:
    return [event["position"] for event, _ in failed], [error for _, error in failed]


def _about(event: asyncpg.Record) -> dict[str, str]:
    about = {"event_id": str(event["id"]), "event_type": event["type"], "order_id": event["subject"]}
    return about | ({"trace_id": trace_id_of(event["traceparent"])} if event["traceparent"] else {})
