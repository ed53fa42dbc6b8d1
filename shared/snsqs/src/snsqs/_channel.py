"""MessageChannel: the destination of messages, and interceptors around it."""

import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from snsqs._errors import BatchSendFailed, ChannelMisconfigured, MessagingError
from snsqs._message import Message


class MessageChannel(Protocol):
    """A destination of messages, after Spring Messaging's `MessageChannel`.

    `send` raises when a message was not accepted; `try_send` returns a result for each. An implementation
    derives from this class and defines `try_send`. Its contract (SNS topic, SQS queue, in memory):

    - `try_send` returns one result per message, in the same order; an empty list for no messages.
    - A result that is a message id means that the message was accepted. It is then delivered at least once,
      in no guaranteed order.
    - A result that is an error means that the message was not accepted. Messages fail one by one: one that
      is too large or refused does not affect the others. After a `TerminalError` sending the same message
      again cannot succeed; after any other error it may.
    - Channels may be shared between tasks, and never change a message.
    """

    async def send(self, messages: Sequence[Message[str]]) -> list[str]:
        """Send messages and return their ids, in the same order.

        Raises BatchSendFailed when at least one was not accepted. The others are sent nevertheless.
        """
        results = await self.try_send(messages)
        ids = [result for result in results if isinstance(result, str)]
        if len(ids) < len(results):
            raise BatchSendFailed(results)
        return ids

    @abstractmethod
    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """Send messages. Return for each its id, or the error why it was not accepted."""
        ...


Send = Callable[[Sequence[Message[str]]], Awaitable[list[str | MessagingError]]]
"""Sends messages and returns a result for each, as `MessageChannel.try_send` does."""


class ChannelInterceptor(Protocol):
    """Wraps sending, as Middleware wraps handling: it may add headers, measure, log, or not call `proceed`.
    It returns a result for every message that it received."""

    async def __call__(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]: ...


class InterceptedChannel(MessageChannel):
    """A MessageChannel: another channel inside interceptors, the first of them outermost. Raises
    ChannelMisconfigured for an object that cannot be called as one."""

    def __init__(self, channel: MessageChannel, *interceptors: ChannelInterceptor) -> None:
        send: Send = channel.try_send
        for interceptor in reversed(interceptors):
            _validate(interceptor)
            send = _wrap(interceptor, send)
        self._send = send

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return await self._send(messages)


def _validate(interceptor: object) -> None:
    if not callable(interceptor) or isinstance(interceptor, type) or inspect.isasyncgenfunction(interceptor):
        raise ChannelMisconfigured(
            f"{interceptor!r} is no interceptor; pass an `async def` of messages and proceed"
        )


def _wrap(interceptor: ChannelInterceptor, inner: Send) -> Send:
    async def send(messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return await interceptor(messages, inner)

    return send
