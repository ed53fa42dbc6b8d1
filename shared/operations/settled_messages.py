"""SettledMessages: the last messages that the listeners of this process settled, and how many there were."""

import uuid
from collections import defaultdict, deque
from collections.abc import Collection
from itertools import islice

from snsqs import Settled

from shared.operations.tally import Tally

REMEMBERED = 500
"""Who asks once a second misses none up to 500 a second."""


class SettledMessages:
    """A bounded memory with cursors. A cursor names the instance as well, because another one, or this one
    after a restart, counts for itself."""

    def __init__(self) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        """By queue; the names are outcomes."""
        self._instance = uuid.uuid4().hex[:12]
        self._last: deque[Settled] = deque(maxlen=REMEMBERED)
        self._number = 0

    def add(self, settled: Settled) -> None:
        """The Observer of the listeners."""
        self._number += 1
        self._last.append(settled)
        self.tallies[settled.queue].add(settled.outcome)

    @property
    def cursor(self) -> str:
        """Where it is now."""
        return f"{self._instance}-{self._number}"

    def after(self, cursors: Collection[str]) -> tuple[list[Settled], int]:
        """What was settled after the cursor of this instance, oldest first, and how many more were, but are
        forgotten. Nothing when none of the cursors is of this instance."""
        seen = [int(number) for instance, _, number in map(_parted, cursors) if instance == self._instance]
        new = max(0, self._number - max(seen)) if seen else 0
        kept = min(new, len(self._last))
        return list(islice(self._last, len(self._last) - kept, None)), new - kept


def _parted(cursor: str) -> tuple[str, str, str]:
    return cursor.partition("-")
