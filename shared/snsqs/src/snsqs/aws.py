"""The SNS and SQS clients of a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

RECEIVE_WAIT = 20
"""Seconds that one receive call waits for a message: three calls a minute when idle."""

TRANSIENT = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, OSError, TimeoutError)
"""What a call of SNS or SQS raises when the service refuses, is slow or away, or when something between
answers for it. All of it may pass."""

_QUEUE_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_TOPIC_GONE = {"NotFound", "NotFoundException"}


@dataclass(frozen=True)
class AwsClients:
    """Open clients, safe to share between tasks."""

    sns: "SNSClient"
    sqs: "SQSClient"


@asynccontextmanager
async def aws_clients(
    *, region: str, endpoint_url: str | None = None, connections: int = 50
) -> AsyncIterator[AwsClients]:
    """Opens the clients. Credentials come from the SDK's own chain (environment, profile, role).

    `endpoint_url` is set for a local server only. SQS's read timeout leaves room for a long poll; SNS's
    is short, because a publisher's caller is waiting.
    """
    session = aioboto3.Session(region_name=region)
    shared = AioConfig(
        connect_timeout=2,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": 2},
        tcp_keepalive=True,
        # mypy checks names and types of the parameters; checking them again at run time costs CPU per call.
        parameter_validation=False,
        # A fixed one; the SDK's own is put together again, piece by piece, twice per call.
        user_agent="order-to-supply",
    )
    sns_config = shared.merge(AioConfig(read_timeout=2))
    sqs_config = shared.merge(AioConfig(read_timeout=RECEIVE_WAIT + 5))
    async with (
        session.client("sns", endpoint_url=endpoint_url, config=sns_config) as sns,
        session.client("sqs", endpoint_url=endpoint_url, config=sqs_config) as sqs,
    ):
        yield AwsClients(sns, sqs)


def error_code(error: BaseException) -> str:
    """The service's error code, or an empty string when the error did not come from the service.

    Codes are compared instead of exception classes, which differ between AWS and the local servers.
    """
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def is_queue_gone(error: BaseException) -> bool:
    return error_code(error) in _QUEUE_GONE


def is_topic_gone(error: BaseException) -> bool:
    return error_code(error) in _TOPIC_GONE
