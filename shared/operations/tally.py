"""Counts by name since the process started, and their rates."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

_MINUTE = 60
_RATE_WINDOW = 5
"""Seconds over which the rate per second is averaged; a single second fluctuates too much to be readable."""


class Tally:
    """Counters by name, with the rate of all names together. Keeps one minute; adding takes constant time."""

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
        """Counts by name since the process started."""
        return dict(self._counts)

    @property
    def per_minute(self) -> int:
        """Count of all names in the last 60 seconds."""
        return self._within(_MINUTE)

    @property
    def per_second(self) -> float:
        """Rate of all names, averaged over the last 5 seconds."""
        return self._within(_RATE_WINDOW) / _RATE_WINDOW

    def _within(self, seconds: int) -> int:
        since = int(self._clock()) - seconds
        return sum(count for second, count in self._seconds if second > since)
