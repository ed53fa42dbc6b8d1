"""HTTP client of another service's REST API."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from opentelemetry import propagate

DEFAULT_TIMEOUT = 15.0
"""Seconds. Services have shorter limits of their own; this one is for a peer that stopped answering."""


class ServiceUnavailable(Exception):
    """The service did not answer in time, or with an unexpected response. The message names its address and
    the reason. Retry later."""


class ServiceUnreachable(ServiceUnavailable):
    """No response: the connection failed or timed out. A read can be retried at once."""


class RequestRejected(Exception):
    """The service rejected the request. The message is the detail of its problem document."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class ServiceClient:
    """Client of one service. Immutable, safe to share between tasks. Continues the current trace."""

    name: str
    """Name of the service in error messages."""
    url: str
    """Base URL, with or without a trailing slash."""
    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request, such as the caller's token."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for a whole request."""

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"

    def with_headers(self, headers: Mapping[str, str], timeout: float = DEFAULT_TIMEOUT) -> "ServiceClient":
        """Return a client of the same service that sends these headers."""
        return replace(self, headers=headers, timeout=timeout)

    async def find(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Like `get`, but return None for 404 and raise ServiceUnavailable for any other rejection."""
        try:
            return await self.get(path, params)
        except RequestRejected as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise ServiceUnavailable(f"{self}: HTTP {error.status}") from error

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the response's JSON. Raises ServiceUnavailable and RequestRejected."""
        return await self._request("GET", path, params=params)

    async def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a JSON body and return the response's JSON. Raises ServiceUnavailable and RequestRejected."""
        return await self._request(method, path, json=body)

    async def _request(self, method: str, path: str, **arguments: Any) -> Any:
        url = f"{self.url.rstrip('/')}{path}"
        headers = dict(self.headers)
        propagate.inject(headers)
        try:
            async with asyncio.timeout(self.timeout):
                response = await self.http.request(
                    method, url, headers=headers, timeout=self.timeout, **arguments
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ServiceUnreachable(f"{self}: no answer within {self.timeout:g} s") from error
        except httpx.RequestError as error:
            raise ServiceUnreachable(f"{self}: {error!r}") from error
        try:
            document = response.json()
            if response.is_success:
                return document
            detail = document["detail"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ServiceUnavailable(
                f"{self}: HTTP {response.status_code}, unexpected response body"
            ) from error
        raise RequestRejected(response.status_code, f"{self.name}: {detail}")
