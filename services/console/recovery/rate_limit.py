"""Rate limit of operations."""

import asyncio
from typing import Annotated

from pydantic import Field
from snsqs.background import wait_for_event

PerSecond = Annotated[float, Field(strict=True, ge=0.01, le=10_000)] | None
"""Maximum rate; None is unlimited."""


class RateLimit:
    """Permits at even intervals; without a limit, at once."""

    def __init__(self, per_second: float | None) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def acquire(self, *, unless: asyncio.Event) -> bool:
        """Wait for the next permit. Return False, at once, when `unless` is or becomes set."""
        now = asyncio.get_running_loop().time()
        begins = max(now, self._next)
        self._next = begins + self._interval
        return not await wait_for_event(unless, begins - now)
