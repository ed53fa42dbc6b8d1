"""LogLimit: at most one log line a minute about the same failure."""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass
class _Line:
    logged_at: float
    suppressed: int = 0


class LogLimit:
    """Logs a repeated message once per `interval` seconds and key, with the number of lines suppressed since.
    The number of keys must be bounded."""

    def __init__(self, log: logging.Logger, *, interval: float = 60.0) -> None:
        self._log = log
        self._interval = interval
        self._lines: dict[Hashable, _Line] = {}

    def __call__(self, level: int, message: str, *key: Hashable, extra: Mapping[str, object]) -> None:
        """Log the message, unless it was logged for this key within the interval."""
        now = asyncio.get_running_loop().time()
        line = self._lines.get((message, *key))
        if line is not None and now < line.logged_at + self._interval:
            line.suppressed += 1
            return
        about = {**extra, "suppressed": line.suppressed} if line and line.suppressed else extra
        self._lines[(message, *key)] = _Line(now)
        self._log.log(level, message, extra=about)
