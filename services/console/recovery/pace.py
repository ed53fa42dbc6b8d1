"""Pace: so many a second, and not more."""

import asyncio
from typing import Annotated

from pydantic import Field
from snsqs.background import wait_for_event

PerSecond = Annotated[float, Field(strict=True, ge=0.01, le=10_000)] | None
"""A limit; none is as fast as it goes."""


class Pace:
    """Turns at even distances; without a limit, at once."""

    def __init__(self, per_second: float | None) -> None:
        self._distance = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def turn(self, *, unless: asyncio.Event) -> bool:
        """Waits for the next turn. False, at once, when `unless` is set or becomes so."""
        now = asyncio.get_running_loop().time()
        begins = max(now, self._next)
        self._next = begins + self._distance
        return not await wait_for_event(unless, begins - now)
