"""Readiness of a topic, from the results of publishing to it: the adapter needs no other right than that."""

import time
from collections.abc import Callable, Sequence

import structlog
from snsqs import Message, MessagingError, Send, SendFailed

log = structlog.get_logger(__name__)

MAX_UNREADY = 30.0
"""Seconds that a topic stays not ready without another publish. A load balancer sends nothing to an instance
that is not ready, so without a limit it would never find out that SNS is back. A relay retries more often."""


class TopicNotReady(Exception):
    """The last publish to the topic failed. The message is the error of SNS."""


class TopicReadiness:
    """ChannelInterceptor and health check of one topic.

    Not ready from a publish of which SNS accepted nothing, until it accepts a message or MAX_UNREADY seconds
    have passed. Messages that SNS rejects for their content do not count.
    """

    def __init__(self, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._clock = clock
        self._error: MessagingError | None = None
        self._failed_at = 0.0

    async def __call__(self, messages: Sequence[Message[str]], proceed: Send) -> list[str | MessagingError]:
        results = await proceed(messages)
        if any(isinstance(result, str) for result in results):
            self._succeeded()
        elif failure := next((result for result in results if isinstance(result, SendFailed)), None):
            self._failed(failure)
        return results

    async def check(self) -> None:
        """Raise TopicNotReady while the topic is not ready."""
        if self._error and self._clock() - self._failed_at < MAX_UNREADY:
            raise TopicNotReady(str(self._error))

    def _succeeded(self) -> None:
        if self._error:
            log.info("topic ready", topic=self._topic)
        self._error = None

    def _failed(self, error: MessagingError) -> None:
        if self._error is None:
            log.error("topic not ready", topic=self._topic, error=str(error))
        self._error, self._failed_at = error, self._clock()
