"""Operation: something that a person started, that may take long, and that can be watched and cancelled."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from enum import StrEnum

import structlog
from pydantic import BaseModel, Field, PrivateAttr
from snsqs import WireModel

from services.console.recovery.audit import Audit, Record
from services.console.recovery.proof import Proof

log = structlog.get_logger(__name__)

_REMEMBERED = 100
"""Operations; those that run are never forgotten."""

_LISTED = 100


class Busy(Exception):
    """Another operation works on the same queue. Wait for its end, or cancel it."""


class UnknownOperation(Exception):
    """No operation has this id; the adapter remembers the last hundred, until it is started again."""


class Status(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """It ended early because of an error; what was done until then is counted."""


class Selected(WireModel):
    """What an operation was about: a dead letter, or an event."""

    id: str
    event_id: str | None
    type: str | None
    order_id: str | None
    error: str | None = None
    """Why it could not be done."""


class Operation(BaseModel):
    """How far it is. The numbers grow while it runs."""

    model_config = {**WireModel.model_config, "frozen": False}

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    what: str
    who: str
    on: str
    """The dead-letter queue, or the event log."""
    dry_run: bool
    status: Status = Status.RUNNING
    began_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    expected: int = 0
    """How many there are to be looked at, as far as that is known; else 0."""
    looked_at: int = 0
    selected: int = 0
    done: int = 0
    """Sent, discarded or replayed; in a dry run, none."""
    failed: int = 0
    """Selected, but not done, or not known to be done; they are where they were."""
    listed: list[Selected] = Field(default_factory=list)
    """The first hundred that were selected, those that failed before the others."""
    error: str | None = None
    """Why it ended early, or did not see everything."""
    proof: Proof | None = None
    """Of a replay."""
    _stop: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @property
    def stop(self) -> asyncio.Event:
        """Set when it is to end: after what it has begun, and before the next."""
        return self._stop

    def select(self, selected: Selected) -> None:
        self.selected += 1
        if len(self.listed) < _LISTED:
            self.listed.append(selected)

    def fail(self, selected: Selected, error: str) -> None:
        """One that was selected before."""
        self.failed += 1
        others = [each for each in self.listed if each.id != selected.id]
        self.listed = [selected.model_copy(update={"error": error}), *others][:_LISTED]


Work = Callable[[Operation], Awaitable[bool]]
"""Does it, and keeps the operation's numbers. Returns False when `stop` ended it before its end."""

_OUTCOME = {"selected", "done", "failed", "error", "proof"}
"""What the audit's last line has, beside the status."""


class Operations:
    """The operations of this process: one at a time on each queue. A background loop: when the service
    stops, they are cancelled and waited for."""

    degraded_reason: str | None = None

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._known: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def all(self) -> list[Operation]:
        """The newest first."""
        return list(reversed(self._known.values()))

    def known(self, operation_id: str) -> Operation:
        """Raises UnknownOperation."""
        try:
            return self._known[operation_id]
        except KeyError:
            raise UnknownOperation(f"no operation has the id {operation_id}") from None

    def on(self, name: str) -> Operation | None:
        """What runs on the queue now."""
        return next((each for each in self.running() if each.on == name), None)

    def running(self) -> list[Operation]:
        return [each for each in self._known.values() if each.status is Status.RUNNING]

    async def start(self, operation: Operation, work: Work, **about: object) -> Operation:
        """Writes the audit record, and only then begins. Raises Busy and AuditUnavailable."""
        if other := self.on(operation.on):
            raise Busy(f"{other.what} {other.id} of {other.who} runs on {other.on}")
        self._remember(operation)
        about = {"operation": operation.id, "on": operation.on, "dryRun": operation.dry_run, **about}
        recorded = AsyncExitStack()
        try:
            audit = self._audit.of(operation.who, operation.what, **about)
            outcome = await recorded.enter_async_context(audit)
        except BaseException:
            del self._known[operation.id]
            raise
        task = asyncio.create_task(self._run(operation, work, recorded, outcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    def cancel(self, operation_id: str) -> Operation:
        """Lets it end after what it has begun. Raises UnknownOperation."""
        operation = self.known(operation_id)
        operation.stop.set()
        return operation

    def stop(self) -> None:
        self._stopping.set()
        for operation in self.running():
            operation.stop.set()

    async def run(self) -> None:
        await self._stopping.wait()
        await asyncio.gather(*self._tasks)

    async def _run(self, operation: Operation, work: Work, recorded: AsyncExitStack, outcome: Record) -> None:
        async with recorded:
            try:
                status = Status.DONE if await work(operation) else Status.CANCELLED
            except Exception as error:
                status, operation.error = Status.FAILED, f"{type(error).__name__}: {error}"
                log.warning("operation failed", operation=operation.id, exc_info=error)
            told = operation.model_dump(mode="json", by_alias=True, include=_OUTCOME, exclude_none=True)
            outcome |= {"status": status.value, **told}
        operation.status, operation.ended_at = status, datetime.now(UTC)  # whoever sees it finds the record

    def _remember(self, operation: Operation) -> None:
        if self._stopping.is_set():
            operation.stop.set()
        self._known[operation.id] = operation
        ended = [each.id for each in self._known.values() if each.status is not Status.RUNNING]
        for operation_id in ended[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[operation_id]
