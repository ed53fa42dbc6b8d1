"""Health: `/livez` says that the process works, `/readyz` that it can do its job now."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse

Check = Callable[[], Awaitable[None]]
"""Really tries what it stands for, and raises when that fails."""

_MOST = 3.0


class Loop(Protocol):
    """Something that runs beside the web application, and knows when it is in trouble."""

    @property
    def degraded_reason(self) -> str | None: ...


def health_router(ready: Mapping[str, Check], loops: Mapping[str, Loop]) -> APIRouter:
    """`ready` decides about `/readyz`. The trouble of `loops` is told there but does not decide: a service
    lives with it, as with events that wait because the adapter is away."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", summary="Does this process answer?")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Can this service do its job now?", responses={503: {}})
    async def readyz() -> JSONResponse:
        troubles = await asyncio.gather(*(_trouble(check) for check in ready.values()))
        checks = {name: trouble or "ok" for name, trouble in zip(ready, troubles, strict=True)}
        told = {name: loop.degraded_reason or "ok" for name, loop in loops.items()}
        is_ready = not any(troubles)
        status = "ready" if is_ready else "not ready"
        return JSONResponse({"status": status, "checks": checks | told}, 200 if is_ready else 503)

    return router


async def _trouble(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_MOST):
            await check()
    except TimeoutError:
        return f"no answer within {_MOST:g} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
