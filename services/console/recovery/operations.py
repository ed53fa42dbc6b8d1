"""Operations: starts, tracks and cancels the operations of all instances of the console."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from snsqs.background import error_reason, wait_for_event
from snsqs.postgres import Database, DatabaseUnavailable

from services.console.recovery import audit, operation_table
from services.console.recovery.audit import AuditUnavailable
from services.console.recovery.operation import Operation, Status

log = structlog.get_logger(__name__)

SAVE_INTERVAL = 0.5
"""Seconds between two heartbeats, and until a cancellation by another instance takes effect."""

MAX_UNSAVED = 10.0
"""Seconds without the database after which an instance stops its operations."""

MAX_SILENCE = timedelta(seconds=30)
"""Age of the last heartbeat at which an operation counts as interrupted. Longer than MAX_UNSAVED and the
timeout of a statement together, so that no other operation begins on its target while it may still move
messages."""

Work = Callable[[Operation], Awaitable[bool]]
"""Performs an operation and updates its numbers. Returns False when `stop` ended it early."""

_OUTCOME = {"selected", "done", "failed", "outcomes", "error", "proof"}


class Busy(Exception):
    """Another operation runs on the same queue or log. Wait until it ends, or cancel it."""


class UnknownOperation(Exception):
    """There is no operation with this id."""


class Operations:
    """A background loop: it saves the progress of the operations that this instance runs, and marks those of
    dead instances as failed. When the service stops, its operations are cancelled and awaited."""

    def __init__(self, database: Database) -> None:
        self.degraded_reason: str | None = None
        self._database = database
        self._saved_at: dict[str, float] = {}
        self._running: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def page(self, limit: int, after: str | None = None) -> list[Operation]:
        """Return up to `limit` operations, newest first, that began before the operation `after`. Raises
        DatabaseUnavailable."""
        async with self._database.connection() as connection:
            return await operation_table.page(connection, limit, None if after is None else _id(after))

    async def get(self, operation_id: str) -> Operation:
        """Raises UnknownOperation and DatabaseUnavailable."""
        async with self._database.connection() as connection:
            found = await operation_table.find(connection, _id(operation_id))
        return _known(found, operation_id)

    async def running_on(self, target: str) -> Operation | None:
        """Return the operation that runs on a queue or log. Raises DatabaseUnavailable."""
        async with self._database.connection() as connection:
            return await operation_table.running_on(connection, target)

    async def start(self, operation: Operation, work: Work, **details: object) -> Operation:
        """Record the operation and its details, and only then begin. Raises Busy and AuditUnavailable."""
        details = {"operation": operation.id, "on": operation.on, "dryRun": operation.dry_run, **details}
        try:
            async with self._database.transaction() as tx:
                if not await operation_table.insert(tx.connection, operation):
                    raise Busy(await self._busy(operation.on))
                await audit.append(tx.connection, operation.who, operation.what, step="begun", **details)
        except DatabaseUnavailable as error:
            raise AuditUnavailable(f"audit not written, so nothing was done: {error}") from error
        self._running[operation.id] = operation
        self._saved_at[operation.id] = _now()
        if self._stopping.is_set():
            operation.stop.set()
        task = asyncio.create_task(self._run(operation, work, details))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation.model_copy()

    async def cancel(self, operation_id: str) -> Operation:
        """Let the operation end after what it has begun, on whichever instance it runs. Raises
        UnknownOperation and DatabaseUnavailable."""
        if operation := self._running.get(operation_id):
            operation.stop.set()
        async with self._database.transaction() as tx:
            found = await operation_table.request_cancel(tx.connection, _id(operation_id))
        return _known(found, operation_id)

    def stop(self) -> None:
        self._stopping.set()
        for operation in self._running.values():
            operation.stop.set()

    async def run(self) -> None:
        while self._tasks or not self._stopping.is_set():
            try:
                await self._save()
                self.degraded_reason = None
            except DatabaseUnavailable as error:
                self.degraded_reason = str(error)
                self._stop_unsaved()
            if self._stopping.is_set() and self._tasks:
                await asyncio.wait(self._tasks, timeout=SAVE_INTERVAL)
            else:
                await wait_for_event(self._stopping, SAVE_INTERVAL)

    async def _save(self) -> None:
        async with self._database.connection() as connection:
            for operation in list(self._running.values()):
                saved_at = _now()
                if not await operation_table.save(connection, operation):
                    operation.stop.set()
                self._saved_at[operation.id] = saved_at
            await operation_table.fail_interrupted(connection, MAX_SILENCE)

    def _stop_unsaved(self) -> None:
        for operation in self._running.values():
            if _now() - self._saved_at[operation.id] > MAX_UNSAVED:
                operation.error = f"stopped: {self.degraded_reason}"
                operation.stop.set()

    async def _run(self, operation: Operation, work: Work, details: dict[str, object]) -> None:
        try:
            status = Status.DONE if await work(operation) else Status.CANCELLED
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # such as a panic; the operation must not seem to run on
            status, operation.error = Status.FAILED, error_reason(error)
            log.warning("operation failed", operation=operation.id, exc_info=error)
        ended = operation.model_copy(update={"status": status, "ended_at": datetime.now(UTC)})
        while not await self._end(ended, details):
            await asyncio.sleep(SAVE_INTERVAL)
        del self._running[operation.id], self._saved_at[operation.id]

    async def _end(self, ended: Operation, details: dict[str, object]) -> bool:
        """Store the end and its audit record together. Return False if that is to be retried."""
        outcome = ended.model_dump(mode="json", by_alias=True, include=_OUTCOME, exclude_none=True)
        outcome["status"] = ended.status
        try:
            async with self._database.transaction() as tx:
                await operation_table.end(tx.connection, ended)
                await audit.append(tx.connection, ended.who, ended.what, step="ended", **(details | outcome))
        except DatabaseUnavailable as error:
            if self._stopping.is_set():
                log.error("audit incomplete", error=str(error), operation=ended.id, **outcome)
                return True
            return False
        return True

    async def _busy(self, target: str) -> str:
        other = await self.running_on(target)
        return f"{other.what} {other.id} of {other.who} runs on {target}" if other else f"{target} is busy"


def _known(operation: Operation | None, operation_id: str) -> Operation:
    if operation is None:
        raise UnknownOperation(f"no operation has the id {operation_id}")
    return operation


def _id(operation_id: str) -> str:
    """Raises UnknownOperation for what cannot be an id."""
    try:
        return str(uuid.UUID(operation_id))
    except ValueError:
        raise UnknownOperation(f"no operation has the id {operation_id}") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
