"""Neighbour: a service beside the adapter, asked over REST. That it is away is a fact to be shown."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

_MOST = 2.0
"""Seconds; a person waits for the answer."""


class Away(Exception):
    """The service did not answer in time, or not as it should. The message says where it was asked, and what
    came of it."""


@dataclass(frozen=True)
class Neighbour:
    """Where a service is. Safe to share."""

    name: str
    url: str
    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it is shown: the services' token, for what is not for everybody."""

    async def get(self, path: str, params: Mapping[str, Sequence[str]] | None = None) -> bytes | None:
        """The body of its answer; None when it does not know what is asked for. Raises Away."""
        try:
            async with asyncio.timeout(_MOST):
                answer = await self.http.get(
                    f"{self.url.rstrip('/')}{path}", params=params, headers=self.headers, timeout=_MOST
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise Away(f"{self.url}: no answer within {_MOST:g} s") from error
        except httpx.RequestError as error:
            raise Away(f"{self.url}: {error!r}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise Away(f"{self.url}: HTTP {answer.status_code}")
        return answer.content
