"""The `operation` table, which all instances of the console share."""

from datetime import timedelta
from typing import Any

import asyncpg
from snsqs.postgres import Connection

from services.console.recovery.operation import Operation

INSERT = """
    INSERT INTO operation (id, what, who, target, dry_run, status, began_at, progress)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (target) WHERE status = 'running' DO NOTHING
    RETURNING true
"""

SAVE = """
    UPDATE operation SET progress = $2, heartbeat_at = now()
    WHERE id = $1 AND status = 'running'
    RETURNING cancel_requested
"""

END = "UPDATE operation SET status = $2, ended_at = $3, progress = $4 WHERE id = $1"

REQUEST_CANCEL = "UPDATE operation SET cancel_requested = true WHERE id = $1 RETURNING *"

FIND = "SELECT * FROM operation WHERE id = $1"

RUNNING_ON = "SELECT * FROM operation WHERE target = $1 AND status = 'running'"

NEWEST_FIRST = """
    SELECT *
    FROM operation
    WHERE $1::uuid IS NULL
       OR (began_at, id) < (SELECT began_at, id FROM operation WHERE id = $1)
    ORDER BY began_at DESC, id DESC
    LIMIT $2
"""

FAIL_INTERRUPTED = """
    WITH interrupted AS (
        UPDATE operation
        SET status = 'failed', ended_at = now(), progress = progress || jsonb_build_object('error', $2::text)
        WHERE status = 'running' AND heartbeat_at < now() - $1::interval
        RETURNING *
    )
    INSERT INTO audit (who, what, details)
    SELECT who, what, jsonb_build_object(
        'step', 'ended', 'operation', id, 'on', target, 'dryRun', dry_run, 'status', status,
        'selected', progress -> 'selected', 'done', progress -> 'done', 'failed', progress -> 'failed',
        'error', progress -> 'error'
    )
    FROM interrupted
"""

INTERRUPTED = "interrupted: the instance of the console that ran it stopped responding"

_PROGRESS = {"expected", "looked_at", "selected", "done", "failed", "outcomes", "listed", "error", "proof"}


async def insert(connection: Connection, operation: Operation) -> bool:
    """Return False when another operation runs on the same target."""
    return bool(
        await connection.fetchval(
            INSERT,
            operation.id,
            operation.what,
            operation.who,
            operation.on,
            operation.dry_run,
            operation.status,
            operation.began_at,
            progress_of(operation),
        )
    )


async def save(connection: Connection, operation: Operation) -> bool:
    """Store progress and heartbeat. Return False when the operation is to end: its cancellation was
    requested, or another instance has marked it as interrupted."""
    cancel_requested = await connection.fetchval(SAVE, operation.id, progress_of(operation))
    return cancel_requested is False


async def end(connection: Connection, operation: Operation) -> None:
    await connection.execute(END, operation.id, operation.status, operation.ended_at, progress_of(operation))


async def request_cancel(connection: Connection, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(REQUEST_CANCEL, operation_id)
    return _operation(row) if row else None


async def find(connection: Connection, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(FIND, operation_id)
    return _operation(row) if row else None


async def running_on(connection: Connection, target: str) -> Operation | None:
    row = await connection.fetchrow(RUNNING_ON, target)
    return _operation(row) if row else None


async def page(connection: Connection, limit: int, after: str | None) -> list[Operation]:
    """Return up to `limit` operations that began before the operation `after`, newest first."""
    return [_operation(row) for row in await connection.fetch(NEWEST_FIRST, after, limit)]


async def fail_interrupted(connection: Connection, max_silence: timedelta) -> None:
    """Mark operations as failed whose instance has sent no heartbeat for so long, and record that."""
    await connection.execute(FAIL_INTERRUPTED, max_silence, INTERRUPTED)


def progress_of(operation: Operation) -> dict[str, Any]:
    return operation.model_dump(mode="json", by_alias=True, include=_PROGRESS)


def _operation(row: asyncpg.Record) -> Operation:
    return Operation(
        id=str(row["id"]),
        what=row["what"],
        who=row["who"],
        on=row["target"],
        dry_run=row["dry_run"],
        status=row["status"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        **row["progress"],
    )
