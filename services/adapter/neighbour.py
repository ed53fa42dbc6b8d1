"""Neighbour: a service beside the adapter, asked over REST."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

_MOST = 15.0
"""Seconds. A service has its own limits, which are shorter; this is for one that says nothing any more."""


class Away(Exception):
    """The service did not answer in time, or not as it should. The message says where it was asked, and what
    came of it."""


class Refused(Exception):
    """The service refuses, and says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Neighbour:
    """Where a service is. Safe to share."""

    name: str
    url: str
    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it is shown: the token of whoever asks."""
    most: float = _MOST
    """Seconds that whoever asks waits for an answer."""

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"

    def shown(self, headers: Mapping[str, str], most: float = _MOST) -> "Neighbour":
        """The same service, asked in somebody's name."""
        return replace(self, headers=headers, most=most)

    async def find(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """As `get`, but None when it does not know what is asked for; any other refusal is Away as well."""
        try:
            return await self.get(path, params)
        except Refused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise Away(f"{self}: HTTP {error.status}") from error

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON of its answer. Raises Away and Refused, as `send` does."""
        return await self._ask("GET", path, params=params)

    async def send(self, method: str, path: str, body: object = None) -> Any:
        return await self._ask(method, path, json=body)

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        url = f"{self.url.rstrip('/')}{path}"
        try:
            async with asyncio.timeout(self.most):
                answer = await self.http.request(
                    method, url, headers=self.headers, timeout=self.most, **request
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise Away(f"{self}: no answer within {self.most:g} s") from error
        except httpx.RequestError as error:
            raise Away(f"{self}: {error!r}") from error
        try:
            told = answer.json()
            if answer.is_success:
                return told
            detail = told["detail"]
        except (ValueError, LookupError, TypeError) as error:
            raise Away(f"{self}: HTTP {answer.status_code}, not as it should be") from error
        raise Refused(answer.status_code, f"{self.name}: {detail}")
