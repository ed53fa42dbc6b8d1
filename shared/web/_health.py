"""Health endpoints: `/livez` for liveness, `/readyz` for readiness."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from snsqs.background import error_reason

Check = Callable[[], Awaitable[None]]
"""Readiness check: uses the resource and raises an error if that fails."""

CHECK_TIMEOUT = 3.0
"""Seconds for each readiness check."""


class Monitored(Protocol):
    """A background loop or a dependency that reports its condition."""

    @property
    def degraded_reason(self) -> str | None:
        """Reason why it does not work at present, None if it does."""


def health_router(ready: Mapping[str, Check], loops: Mapping[str, Monitored]) -> APIRouter:
    """Return the router of `/livez` and `/readyz`.

    `/readyz` answers 503 if one of the checks in `ready` fails. The condition of `loops` is reported but does
    not make a service unready: it can still answer requests, for example while events wait in the outbox.
    """
    router = APIRouter(tags=["health"])

    @router.get("/livez", summary="Liveness")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    async def check_all() -> list[str | None]:
        return await asyncio.gather(*(_failure(check) for check in ready.values()))

    shared = _Shared(check_all)

    @router.get("/readyz", summary="Readiness", responses={503: {}})
    async def readyz() -> JSONResponse:
        failures = await shared.result()
        checks = {name: failure or "ok" for name, failure in zip(ready, failures, strict=True)}
        conditions = {name: loop.degraded_reason or "ok" for name, loop in loops.items()}
        is_ready = not any(failures)
        status = "ready" if is_ready else "not ready"
        return JSONResponse({"status": status, "checks": checks | conditions}, 200 if is_ready else 503)

    return router


class _Shared:
    """Runs a coroutine function at most once at a time; callers that come meanwhile get the same result.

    So any number of requests for `/readyz` uses one database connection.
    """

    def __init__(self, work: Callable[[], Awaitable[list[str | None]]]) -> None:
        self._work = work
        self._running: asyncio.Future[list[str | None]] | None = None

    async def result(self) -> list[str | None]:
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._work())
        return await asyncio.shield(self._running)


async def _failure(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT:g} s"
    except Exception as error:
        return error_reason(error)
    return None
