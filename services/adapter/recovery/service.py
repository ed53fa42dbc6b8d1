"""Service: one of the services beside the adapter, asked in the operator's own name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

_MOST = 15.0
"""Seconds. It has its own limits, which are shorter; this is for one that says nothing any more."""


class ServiceAway(Exception):
    """The service did not answer. The message says where it was asked, and what came of it."""


class ServiceRefused(Exception):
    """The service refuses, and says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Service:
    """Where it is. The operator's token is handed on, so that the service knows who it is, and the adapter
    needs no right of its own to do what operators may."""

    name: str
    url: str
    http: httpx.AsyncClient

    async def get(
        self, path: str, token: str, params: Mapping[str, Any] | None = None, most: float = _MOST
    ) -> Any:
        return await self._ask("GET", path, token, params=params, timeout=most)

    async def post(self, path: str, token: str, body: Mapping[str, Any] | None = None) -> Any:
        return await self._ask("POST", path, token, json=body, timeout=_MOST)

    async def _ask(self, method: str, path: str, token: str, **request: Any) -> Any:
        """The JSON of its answer. Raises ServiceAway and ServiceRefused."""
        url = f"{self.url.rstrip('/')}{path}"
        headers = {"authorization": f"Bearer {token}"}
        try:
            answer = await self.http.request(method, url, headers=headers, **request)
            if answer.is_error:
                raise ServiceRefused(answer.status_code, f"{self.name}: {answer.json()['detail']}")
            return answer.json()
        except (httpx.RequestError, ValueError, LookupError, TypeError) as error:
            raise ServiceAway(f"{self.name} at {self.url}: {error!r}") from error
