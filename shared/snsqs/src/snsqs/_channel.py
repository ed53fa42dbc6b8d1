"""MessageChannel: where messages are sent."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from snsqs._errors import MessagingError
from snsqs._message import Message


class MessageChannel(Protocol):
    """A way to send messages, after Spring Messaging's `MessageChannel`.

    The contract, for every kind (SNS topic, SQS queue, memory):

    - A message is taken when its entry in the answer is a message id; it is then delivered at least once,
      in no promised order.
    - An entry that is an error was not taken. Entries fail one by one: a message that is too large or
      refused never keeps its neighbours from being sent. `TerminalError` means that sending the same
      message again cannot succeed; anything else may be tried again.
    - The answer has one entry per message, in the order given. An empty list gives an empty answer.
    - Channels are safe to share between tasks, and never change a message.
    """

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]: ...


Send = Callable[[Sequence[Message[str]]], Awaitable[list[str | MessagingError]]]


class ChannelInterceptor(Protocol):
    """Wraps sending, as Middleware wraps handling: it may add headers, measure, log, or not proceed. It
    answers for every message that it was given."""

    async def __call__(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]: ...


class InterceptedChannel:
    """A channel inside its interceptors; the first one named is the outermost. Itself a MessageChannel."""

    def __init__(self, channel: MessageChannel, *interceptors: ChannelInterceptor) -> None:
        send: Send = channel.send
        for interceptor in reversed(interceptors):
            send = _wrap(interceptor, send)
        self._send = send

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return await self._send(messages)


def _wrap(interceptor: ChannelInterceptor, inner: Send) -> Send:
    async def send(messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return await interceptor(messages, inner)

    return send
