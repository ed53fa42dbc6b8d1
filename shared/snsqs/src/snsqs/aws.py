"""SNS and SQS clients of a process, and the errors of their calls.

The SDK is imported when a client is opened, or an error is being handled: it takes longer to import than
everything else.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from snsqs._errors import TopologyError
from snsqs._responses import UnexpectedResponse, validate_responses

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

__all__ = [
    "AwsClients",
    "UnexpectedResponse",
    "aws_clients",
    "error_code",
    "is_queue_gone",
    "is_topic_gone",
    "transient_errors",
]

MIN_CONNECTIONS = 2
"""One for polls and one for other calls."""

POLL_TIMEOUT = 20
"""Seconds that a receive call waits for a message: three calls a minute when idle."""

_QUEUE_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_TOPIC_GONE = {"NotFound", "NotFoundException"}


@dataclass(frozen=True)
class AwsClients:
    """Open SNS and SQS clients, safe to share between tasks."""

    sns: "SNSClient"
    sqs: "SQSClient"
    open_region: "Callable[[str], Awaitable[AwsClients]] | None" = None
    """Opens the clients of another region, for topics and queues that are named by ARN or URL."""

    async def in_region(self, region: str | None) -> "AwsClients":
        """Return the clients of a region; these for their own region and None. Raises TopologyError when they
        cannot open others."""
        own = self.sqs.meta.region_name
        if region in (None, own):
            return self
        if self.open_region is None:
            raise TopologyError(
                f"the clients are of {own}, not {region}; open them with aws_clients, or set open_region"
            )
        return await self.open_region(str(region))

    def __post_init__(self) -> None:
        validate_responses(self.sns)
        validate_responses(self.sqs)


@asynccontextmanager
async def aws_clients(
    *, region: str, endpoint_url: str | None = None, connections: int = 500
) -> AsyncIterator[AwsClients]:
    """Open the clients, and close them at the end. Credentials come from the SDK's own chain (environment,
    profile, role).

    `endpoint_url` is set for a local server only. `connections` bounds the pool of each client, which opens
    them on demand: an idle listener occupies one, a busy one up to `max_pollers`, and ten are kept for other
    calls than polls. A listener for which there is none raises ListenerMisconfigured at its start. The read
    timeout of SQS exceeds a long poll; that of SNS is short (2 s), because a publisher's caller is waiting.
    """
    if type(connections) is not int or connections < MIN_CONNECTIONS:
        raise ValueError(f"aws_clients: connections is {connections!r}; set a whole number of at least 2")
    lock = asyncio.Lock()
    opened: dict[str, AwsClients] = {}
    async with AsyncExitStack() as stack:

        async def open_region(name: str) -> AwsClients:
            async with lock:
                if name not in opened:
                    clients = _clients(name, endpoint_url, connections, open_region)
                    opened[name] = await stack.enter_async_context(clients)
            return opened[name]

        yield await open_region(region)


@asynccontextmanager
async def _clients(
    region: str,
    endpoint_url: str | None,
    connections: int,
    open_region: Callable[[str], Awaitable[AwsClients]],
) -> AsyncIterator[AwsClients]:
    """Open the clients of one region."""
    import aioboto3
    from aiobotocore.config import AioConfig

    session = aioboto3.Session(region_name=region)
    shared = AioConfig(
        connect_timeout=2,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": 2},
        tcp_keepalive=True,
        # mypy checks names and types of the parameters; validation at run time costs CPU per call.
        parameter_validation=False,
        # Constant, because the SDK builds its own twice per call.
        user_agent=f"snsqs/{version('snsqs')}",
    )
    sns_config = shared.merge(AioConfig(read_timeout=2))
    sqs_config = shared.merge(AioConfig(read_timeout=POLL_TIMEOUT + 5))
    async with (
        session.client("sns", endpoint_url=endpoint_url, config=sns_config) as sns,
        session.client("sqs", endpoint_url=endpoint_url, config=sqs_config) as sqs,
    ):
        yield AwsClients(sns, sqs, open_region)


@functools.cache
def transient_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors of SNS and SQS calls that may succeed later: the service refuses, throttles, is slow
    or unreachable, or a proxy answers for it (`UnexpectedResponse`). `others` are appended. To be called in
    an `except` clause:

        try:
            await queue.delete(handles)
        except transient_errors() as error:
            ...
    """
    import aiohttp
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    sdk = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError)
    return (*sdk, UnexpectedResponse, OSError, TimeoutError, *others)


def error_code(error: BaseException) -> str:
    """Return the error code of a response of SNS or SQS, or an empty string for any other error.

    Codes are compared instead of exception classes, which differ between AWS and local servers.
    """
    response = getattr(error, "response", None)  # of botocore's ClientError
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_queue_gone(error: BaseException) -> bool:
    """Return whether a call failed because the queue does not exist."""
    return error_code(error) in _QUEUE_GONE


def is_topic_gone(error: BaseException) -> bool:
    """Return whether a call failed because the topic, or the subscription, does not exist."""
    return error_code(error) in _TOPIC_GONE
