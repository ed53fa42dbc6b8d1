"""Redrive: takes dead letters out of their queue, back to where they came from, or away."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool, model_validator
from snsqs.aws import transient_errors
from snsqs.headers import TYPE
from snsqs.queues import MAX_BATCH_SIZE, Received, batched, is_fifo

from services.console.recovery.audit import Audit
from services.console.recovery.dead_letter import DeadLetter, attributes_before_death, dead_letter
from services.console.recovery.operation import Operation, Selected
from services.console.recovery.pace import Pace, PerSecond
from services.console.recovery.queues import DeadLetterQueue
from services.console.recovery.reading import Reading, reading
from shared.operations.selection import Selection
from shared.web import RequestModel


class WrongBody(Exception):
    """The corrected body is not an event about the same version of the same aggregate as the message."""


class Removal(RequestModel):
    """Which letters are to leave which dead-letter queue. `queue` is its name, or its source's."""

    what: ClassVar[str]

    queue: str
    selection: Selection
    dry_run: StrictBool = False
    per_second: PerSecond = None


class Discard(Removal):
    """Deletes dead letters. Their events stay in the log of the service that published them."""

    what = "discard"


class Redrive(Removal):
    """Sends dead letters to the queue where they died; `body`, where given, instead of the letter's own."""

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
    """A message that is to be moved, and what it is as a dead letter."""

    message: Received
    letter: DeadLetter

    @property
    def told(self) -> Selected:
        about = self.letter
        return Selected(id=about.id, event_id=about.event_id, type=about.type, order_id=about.order_id)


class Mover:
    """Does one removal.

    A letter is deleted after its queue took it. Dying between the two sends it once more the next time,
    under the same event id, which the consumer's inbox recognises: at least once, and never lost.

    What died after the operation began is left alone, or what dies again at once would go round for ever.
    """

    def __init__(self, queue: DeadLetterQueue, removal: Removal, audit: Audit) -> None:
        self._queue = queue
        self._removal = removal
        self._audit = audit
        self._pace = Pace(removal.per_second)
        is_one_by_one = removal.per_second is not None or is_fifo(queue.name)
        self._together = 1 if is_one_by_one else MAX_BATCH_SIZE
        self._broken_groups: set[str] = set()

    async def move(self, operation: Operation) -> bool:
        """False when it was stopped before its end. Raises what the SDK raises, and AuditUnavailable."""
        operation.expected = self._queue.count
        wanted = self._removal.selection.ids or frozenset()
        found: set[str | None] = set()
        async with reading(self._queue.queue) as letters:
            async for batch in letters.batches():
                operation.looked_at += len(batch)
                chosen = self._chosen(batch, operation)
                for part in batched(chosen, self._together):
                    if not await self._pace.turn(unless=operation.stop):
                        return False
                    await self._move(part, letters, operation)
                found |= {each.letter.id for each in chosen}
                if wanted and wanted <= found:
                    return True
                found |= {each.letter.event_id for each in chosen}
        missing = sorted(wanted - found)
        operation.error = f"not found: {', '.join(missing)}" if missing else letters.incomplete
        return True

    def _chosen(self, batch: Sequence[Received], operation: Operation) -> list[_Chosen]:
        letters = [_Chosen(each, dead_letter(each, self._queue.name)) for each in batch]
        return [
            each
            for each in letters
            if each.letter.sent_at < operation.began_at and each.letter.fits(self._removal.selection)
        ]

    async def _move(self, part: Sequence[_Chosen], letters: Reading, operation: Operation) -> None:
        told = [each.told for each in part]
        for one in told:
            operation.select(one)
        if operation.dry_run:
            return
        about = [one.model_dump(by_alias=True, exclude_none=True) for one in told]
        await self._audit.write(
            operation.who, operation.what, step="moving", operation=operation.id, letters=about
        )
        errors = await asyncio.gather(*(self._send(each, letters) for each in part))
        sent = [each.message for each, error in zip(part, errors, strict=True) if error is None]
        kept = await letters.delete(sent) if sent else frozenset[str]()
        operation.done += len(sent) - len(kept)
        for one, error in zip(told, errors, strict=True):
            if one.id in kept:
                error = _KEPT[operation.what]
            if error is not None:
                operation.fail(one, error)

    async def _send(self, chosen: _Chosen, letters: Reading) -> str | None:
        """Why it could not be sent, or None. What is discarded is not sent."""
        message = chosen.message
        if not letters.holds(message):
            return "SQS may have given it to somebody else in the meantime"
        if not isinstance(self._removal, Redrive):
            return None
        if message.group in self._broken_groups:
            return "an earlier one of its group could not be sent"
        try:
            body = message.body if self._removal.body is None else _corrected(chosen, self._removal.body)
            await self._queue.source.send(
                body,
                attributes_before_death(message),
                group=message.group,
                deduplication=_deduplication(message, body),
            )
        except transient_errors(WrongBody) as error:
            if message.group is not None:
                self._broken_groups.add(message.group)
            return f"not sent: {error}"
        return None


def _corrected(chosen: _Chosen, body: str) -> str:
    """The body, which travels under the letter's ids. Raises WrongBody where it cannot be that event."""
    letter = chosen.letter
    if TYPE not in letter.attributes:
        raise WrongBody(f"the message has no {TYPE}, and a body alone does not make it an event")
    try:
        source = json.loads(body)["source"]
        order_id, version = source["id"], source.get("version")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WrongBody(f"the body is no domain event: {error!r}") from error
    if letter.order_id not in (None, order_id) or letter.version not in (None, version):
        raise WrongBody(f"the body is not about version {letter.version} of {letter.order_id}")
    return body


def _deduplication(letter: Received, body: str) -> str:
    """For FIFO queues. Under the message's first one SQS would drop it for five minutes, and we would
    delete it. This one is the same when a redrive is done again, and another one when the body is."""
    return hashlib.sha256(f"{letter.message_id} {body}".encode()).hexdigest()
