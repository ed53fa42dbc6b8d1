"""Redrive and discard: remove dead letters from their queue, back to their source or for good."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool, model_validator
from snsqs.aws import transient_errors
from snsqs.headers import TYPE
from snsqs.queues import MAX_BATCH_SIZE, Received, batched, is_fifo, original_attributes

from services.console.queues import DeadLetterQueue
from services.console.recovery.audit import Audit
from services.console.recovery.browsing import BrowseSession, browse_session
from services.console.recovery.dead_letter import DeadLetter, dead_letter, original_id
from services.console.recovery.operation import Operation, Selected
from services.console.recovery.outcomes import Outcomes
from services.console.recovery.rate_limit import PerSecond, RateLimit
from services.console.registry import Registry
from shared.operations.selection import Selection
from shared.web import RequestModel


class WrongBody(Exception):
    """The corrected body is not an event about the same version of the same aggregate as the message."""


class Removal(RequestModel):
    """Request to remove dead letters. `queue` is the name of the dead-letter queue, or of its source."""

    what: ClassVar[str]

    queue: str
    selection: Selection
    dry_run: StrictBool = False
    per_second: PerSecond = None


class Discard(Removal):
    """Deletes dead letters. The audit keeps them; their events stay in the log of the service that published
    them."""

    what = "discard"


class Redrive(Removal):
    """Sends dead letters back to their source queue; `body`, if given, replaces the letter's own."""

    what = "redrive"

    body: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _body_is_for_one(self) -> "Redrive":
        if self.body is not None and len(self.selection.ids or ()) != 1:
            raise ValueError("a body is for one dead letter: select it by its id")
        return self


_KEPT = {
    Discard.what: "it could not be deleted",
    Redrive.what: "sent, but it could not be deleted: another redrive sends it once more",
}


@dataclass(frozen=True)
class _Chosen:
    """A selected message, and the dead letter that was read from it."""

    message: Received
    letter: DeadLetter

    @property
    def selected(self) -> Selected:
        about = self.letter
        return Selected(id=about.id, event_id=about.event_id, type=about.type, order_id=about.order_id)


class Remover:
    """Performs one redrive or discard.

    A letter is deleted after its source queue accepted it. When the process dies between the two, the next
    redrive sends it once more under the same event id, which the consumer's inbox recognises: at least once.

    Letters that it has sent back itself and that have failed again are left alone; otherwise one whose
    handler fails at once would circulate for ever. They are recognised by their message ids, not by time: the
    clocks of SQS and of the console may differ.
    """

    def __init__(self, queue: DeadLetterQueue, removal: Removal, audit: Audit, registry: Registry) -> None:
        self._queue = queue
        self._registry = registry
        self._removal = removal
        self._audit = audit
        self._rate_limit = RateLimit(removal.per_second)
        is_one_by_one = removal.per_second is not None or is_fifo(queue.name)
        self._batch_size = 1 if is_one_by_one else MAX_BATCH_SIZE
        self._broken_groups: set[str] = set()
        self._sent: set[str] = set()
        """Ids of the messages that were sent back."""

    async def remove(self, operation: Operation) -> bool:
        """Return False when it was stopped early. Raises errors of the SDK, AuditUnavailable and
        ServiceUnavailable."""
        outcomes = Outcomes(self._registry, self._queue.source.name, operation)
        if isinstance(self._removal, Redrive) and not operation.dry_run:
            await outcomes.begin()
        is_complete = await self._remove_all(operation, outcomes)
        await outcomes.wait()
        return is_complete

    async def _remove_all(self, operation: Operation, outcomes: Outcomes) -> bool:
        operation.expected = self._queue.count
        wanted = self._removal.selection.ids or frozenset()
        found: set[str | None] = set()
        async with browse_session(self._queue.queue) as session:
            async for batch in session.batches():
                operation.looked_at += len(batch)
                chosen = self._chosen(batch)
                for part in batched(chosen, self._batch_size):
                    if not await self._rate_limit.acquire(unless=operation.stop):
                        return False
                    await self._remove(part, session, operation, outcomes)
                found |= {each.letter.id for each in chosen}
                if wanted and wanted <= found:
                    return True
                found |= {each.letter.event_id for each in chosen}
        missing = sorted(wanted - found)
        operation.error = f"not found: {', '.join(missing)}" if missing else session.incomplete
        return True

    def _chosen(self, batch: Sequence[Received]) -> list[_Chosen]:
        letters = [_Chosen(each, dead_letter(each, self._queue.name)) for each in batch]
        return [
            each
            for each in letters
            if original_id(each.message) not in self._sent and each.letter.fits(self._removal.selection)
        ]

    async def _remove(
        self, part: Sequence[_Chosen], session: BrowseSession, operation: Operation, outcomes: Outcomes
    ) -> None:
        selected = [each.selected for each in part]
        for one in selected:
            operation.select(one)
        if operation.dry_run:
            return
        letters = [self._recorded(each) for each in part]
        await self._audit.write(
            operation.who, operation.what, step="moving", operation=operation.id, letters=letters
        )
        errors = await asyncio.gather(*(self._send(each, session) for each in part))
        sent = [each.message for each, error in zip(part, errors, strict=True) if error is None]
        kept = await session.delete(sent) if sent else frozenset[str]()
        operation.done += len(sent) - len(kept)
        for one, error in zip(selected, errors, strict=True):
            if one.id in kept:
                error = _KEPT[operation.what]
            if error is not None:
                operation.fail(one, error)
        if isinstance(self._removal, Redrive):
            await outcomes.sent([one for one, error in zip(selected, errors, strict=True) if error is None])

    def _recorded(self, chosen: _Chosen) -> dict[str, Any]:
        """Return what the audit keeps of a letter: all of one that is discarded."""
        about = chosen.selected.model_dump(by_alias=True, exclude_none=True)
        if isinstance(self._removal, Redrive):
            return about
        return about | {"body": chosen.letter.body, "attributes": chosen.letter.attributes}

    async def _send(self, chosen: _Chosen, session: BrowseSession) -> str | None:
        """Return why the letter could not be sent, or None. A discarded letter is not sent."""
        message = chosen.message
        if not session.holds(message):
            return "its lease expired: another receiver may have it"
        if not isinstance(self._removal, Redrive):
            return None
        if message.group in self._broken_groups:
            return "an earlier one of its group could not be sent"
        try:
            body = message.body if self._removal.body is None else _corrected(chosen, self._removal.body)
            sent = await self._queue.source.send(
                body,
                original_attributes(message),
                group=message.group,
                deduplication=_deduplication(message, body),
            )
            self._sent.add(sent)
        except transient_errors(WrongBody) as error:
            if message.group is not None:
                self._broken_groups.add(message.group)
            return f"not sent: {error}"
        return None


def _corrected(chosen: _Chosen, body: str) -> str:
    """Return the body, which is sent under the letter's ids. Raises WrongBody."""
    letter = chosen.letter
    if TYPE not in letter.attributes:
        raise WrongBody(f"the message has no {TYPE}, and a body alone does not make it an event")
    try:
        source = json.loads(body)["source"]
        order_id, version = source["id"], source.get("version")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WrongBody(f"the body is no domain event: {error!r}") from error
    if letter.order_id not in (None, order_id) or letter.version not in (None, version):
        raise WrongBody(f"the body is not about version {letter.version} of {letter.order_id}")
    return body


def _deduplication(letter: Received, body: str) -> str:
    """Return the deduplication id for a FIFO queue. With the message's first id SQS would drop the message
    for five minutes. This one is the same for a repeated redrive, and differs for another body."""
    return hashlib.sha256(f"{letter.message_id} {body}".encode()).hexdigest()
