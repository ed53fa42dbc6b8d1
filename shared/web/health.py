"""Health: `/livez` says that the process works, `/readyz` that it can do its job now."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse

Check = Callable[[], Awaitable[None]]
"""Really tries what it stands for, and raises when that fails."""

_MOST = 3.0


def health_router(
    ready: Mapping[str, Check], information: Mapping[str, Callable[[], str | None]]
) -> APIRouter:
    """`ready` decides about `/readyz`. `information` is told there but does not decide: trouble that the
    service lives with, such as events that wait because the adapter is away."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", summary="Does this process answer?")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Can this service do its job now?", responses={503: {}})
    async def readyz() -> JSONResponse:
        troubles = await asyncio.gather(*(_trouble(check) for check in ready.values()))
        checks = {name: trouble or "ok" for name, trouble in zip(ready, troubles, strict=True)}
        told = {name: trouble() or "ok" for name, trouble in information.items()}
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
