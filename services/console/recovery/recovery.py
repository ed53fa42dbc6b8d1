"""Recovery: looks into the dead-letter queues, and starts what moves their letters."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from snsqs import WireModel

from services.console.recovery.audit import Audit
from services.console.recovery.dead_letter import DeadLetter, dead_letter
from services.console.recovery.operation import Operation, Operations
from services.console.recovery.queues import DeadLetterQueue, PassesOn, Queues
from services.console.recovery.reading import reading
from services.console.recovery.redrive import Mover, Removal
from services.console.recovery.replay import Replays
from services.console.recovery.services import Services
from shared.operations.selection import Filter

_SECONDS = 10.0
_BYTES = 8 * 1024 * 1024

_PASSES_ON = "it has a redrive policy of its own, so that a look into it may move its letters on"
_WHY_UNSEEN = "the look was long enough, somebody else holds them, or they come later in a FIFO group"


class Look(WireModel):
    """How much of a queue was seen."""

    queue: str
    source: str
    """The queue that it serves."""
    count: int
    """What is in it; an estimate, on AWS up to a minute old."""
    looked_at: int
    operation: str | None = None
    """What runs on it and holds its letters, so that they cannot be seen."""
    incomplete: str | None = None
    """Why not everything was seen, or null."""


class Found(WireModel):
    """Dead letters, the newest first, and how much of each queue was seen."""

    letters: list[DeadLetter]
    queues: list[Look]

    @classmethod
    def of(cls, look: Look, letters: Sequence[DeadLetter] = (), **changes: object) -> "Found":
        return cls(letters=list(letters), queues=[look.model_copy(update=changes)])


class Recovery:
    """What a person can do about dead letters.

    Who looks holds what is looked at, so the looks into one queue wait for each other; and while an
    operation goes through it, nobody looks.
    """

    def __init__(
        self, queues: Queues, services: Services, operations: Operations, audit: Audit, replays: Replays
    ) -> None:
        self.services = services
        self.operations = operations
        self.audit = audit
        self.replays = replays
        self._queues = queues
        self._looks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def browse(self, queue: str | None, wanted: Filter, limit: int) -> Found:
        """At most `limit` letters of each queue. Raises UnknownQueue, and what the SDK raises."""
        queues = await self._queues.all() if queue is None else [await self._queues.named(queue)]
        founds = await asyncio.gather(*(self._look(each, wanted, limit) for each in queues))
        letters = [letter for found in founds for letter in found.letters]
        letters.sort(key=lambda letter: letter.sent_at, reverse=True)
        return Found(letters=letters, queues=[look for found in founds for look in found.queues])

    async def remove(self, removal: Removal, who: str) -> Operation:
        """Starts it. Raises UnknownQueue, PassesOn, Busy, AuditUnavailable, and what the SDK raises."""
        queue = await self._queues.named(removal.queue)
        if queue.passes_on:
            raise PassesOn(f"{queue.name}: {_PASSES_ON}")
        mover = Mover(queue, removal, self.audit)

        async def move(operation: Operation) -> bool:
            async with self._looks[queue.name]:
                return await mover.move(operation)

        operation = Operation(what=removal.what, who=who, on=queue.name, dry_run=removal.dry_run)
        about = removal.model_dump(
            mode="json", by_alias=True, exclude={"queue", "dry_run"}, exclude_none=True
        )
        return await self.operations.start(operation, move, **about)

    async def _look(self, queue: DeadLetterQueue, wanted: Filter, limit: int) -> Found:
        about = Look(queue=queue.name, source=queue.source.name, count=queue.count, looked_at=0)
        if queue.passes_on:
            return Found.of(about, incomplete=_PASSES_ON)
        if operation := self.operations.on(queue.name):
            return Found.of(about, operation=operation.id, incomplete=f"a {operation.what} holds its letters")
        async with self._looks[queue.name]:
            return await _looked_into(queue, about, wanted, limit)


async def _looked_into(queue: DeadLetterQueue, about: Look, wanted: Filter, limit: int) -> Found:
    """Ends early when it has enough, for a person or for our memory, or takes too long for a person."""
    found: list[DeadLetter] = []
    looked_at, size, ends = 0, 0, asyncio.get_running_loop().time() + _SECONDS
    async with reading(queue.queue) as letters:
        async for batch in letters.batches():
            looked_at += len(batch)
            new = [letter for each in batch if (letter := dead_letter(each, queue.name)).fits(wanted)]
            found += new
            size += sum(len(letter.body) for letter in new)
            if len(found) >= limit or size > _BYTES or asyncio.get_running_loop().time() > ends:
                break
    unseen = max(0, queue.count - looked_at) + max(0, len(found) - limit)
    incomplete = f"about {unseen} more are there; {_WHY_UNSEEN}" if unseen else letters.incomplete
    return Found.of(about, found[:limit], looked_at=looked_at, incomplete=incomplete)
