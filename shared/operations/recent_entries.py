"""Bounded memory of recent entries that polling clients read with cursors."""

import uuid
from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import Generic, TypeVar

MAX_ENTRIES = 500
"""A client that polls once a second misses nothing up to 500 entries a second."""

T = TypeVar("T")


class RecentEntries(Generic[T]):
    """Ring buffer of the last `limit` entries.

    A cursor is a position in the buffer of one instance, `<instance>-<number>`. It names the instance because
    another process, or this one after a restart, counts from zero.
    """

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._instance = uuid.uuid4().hex[:12]
        self._entries: deque[T] = deque(maxlen=limit)
        self._number = 0

    def add(self, entry: T) -> None:
        """Append an entry; the oldest one is dropped when the buffer is full."""
        self._number += 1
        self._entries.append(entry)

    @property
    def cursor(self) -> str:
        """Position after the newest entry."""
        return f"{self._instance}-{self._number}"

    def after(self, cursors: Collection[str]) -> tuple[list[T], int]:
        """Return the entries after this instance's cursor, oldest first, and the number of those that the
        buffer has already dropped. Without a cursor of this instance there are none."""
        positions = [
            int(number)
            for instance, _, number in (cursor.partition("-") for cursor in cursors)
            if instance == self._instance
        ]
        new = max(0, self._number - max(positions)) if positions else 0
        kept = min(new, len(self._entries))
        return list(islice(self._entries, len(self._entries) - kept, None)), new - kept
