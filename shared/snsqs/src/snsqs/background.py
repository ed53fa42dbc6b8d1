"""Waiting in background loops."""

import asyncio
from contextlib import suppress


async def wait_for_event(event: asyncio.Event, timeout: float) -> bool:
    """Wait until the event is set, for at most `timeout` seconds. Return whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
    return event.is_set()
