"""Tally: counts by name since the process started, and how fast they grow."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

_MINUTE = 60
_NOW = 5
"""Seconds that "per second" is the mean of; one alone jumps too much to be read."""


class Tally:
    """Counts. Adding is a few dictionary operations, however many are added; a minute is remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._seconds: deque[list[int]] = deque(maxlen=_MINUTE)

    def add(self, name: str, count: int = 1) -> None:
        self._counts[name] += count
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += count
        else:
            self._seconds.append([second, count])

    @property
    def counts(self) -> Mapping[str, int]:
        """By name, since the start."""
        return dict(self._counts)

    @property
    def per_minute(self) -> int:
        """All names together, in the last sixty seconds."""
        return self._within(_MINUTE)

    @property
    def per_second(self) -> float:
        """The mean of the last five seconds."""
        return self._within(_NOW) / _NOW

    def _within(self, seconds: int) -> int:
        since = int(self._clock()) - seconds
        return sum(count for second, count in self._seconds if second > since)
