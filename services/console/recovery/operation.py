"""Operation: a redrive, discard or replay, with its progress."""

import asyncio
import uuid
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, Field, PrivateAttr
from snsqs import WireModel

from services.console.recovery.proof import Proof

MAX_LISTED = 100


class Status(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """It ended early because of an error, or its instance died; what was done until then is counted."""


class Selected(WireModel):
    """A dead letter or an event that an operation selected."""

    id: str
    event_id: str | None
    type: str | None
    order_id: str | None
    error: str | None = None
    """Why it could not be processed, or why it is a dead letter again."""
    outcome: str | None = None
    """Of a redriven message: its consumer's outcome, `not_settled` or `unknown`."""


class Operation(BaseModel):
    """State of an operation. The numbers grow while it runs, and are at most a second old."""

    model_config = {**WireModel.model_config, "frozen": False}

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    what: str
    """`redrive`, `discard` or `replay`."""
    who: str
    on: str
    """The dead-letter queue, or the event log."""
    dry_run: bool
    status: Status = Status.RUNNING
    began_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    expected: int = 0
    """Number of messages to scan, if known; else 0."""
    looked_at: int = 0
    selected: int = 0
    done: int = 0
    """Sent, discarded or replayed; in a dry run, none."""
    failed: int = 0
    """Selected, but not done, or not known to be done; they are where they were."""
    outcomes: dict[str, int] = Field(default_factory=dict)
    """Redriven messages by their consumer's outcome: `handled`, `duplicate`, `superseded`, `ignored`,
    `dead_letter`; `not_settled` without one so far; `unknown` where it cannot be known."""
    listed: list[Selected] = Field(default_factory=list)
    """The first hundred that were selected; those that failed or died again before the others."""
    error: str | None = None
    """Why it ended early, or did not see everything."""
    proof: Proof | None = None
    """Of a replay."""
    _stop: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @property
    def stop(self) -> asyncio.Event:
        """Set to end the operation after what it has begun."""
        return self._stop

    def select(self, selected: Selected) -> None:
        self.selected += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(selected)

    def fail(self, selected: Selected, error: str) -> None:
        """Count a failure of something that was selected before."""
        self.failed += 1
        self._list_first(selected.model_copy(update={"error": error}))

    def settle(self, selected: Selected, outcome: str, reason: str | None) -> None:
        """Count the outcome of a message that was sent, and list it."""
        self.outcomes = {**self.outcomes, outcome: self.outcomes.get(outcome, 0) + 1}
        if outcome == "dead_letter":
            self._list_first(selected.model_copy(update={"outcome": outcome, "error": reason}))
            return
        self.listed = [
            each.model_copy(update={"outcome": outcome}) if each.id == selected.id else each
            for each in self.listed
        ]

    def _list_first(self, selected: Selected) -> None:
        others = [each for each in self.listed if each.id != selected.id]
        self.listed = [selected, *others][:MAX_LISTED]
