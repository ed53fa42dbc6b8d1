"""Faults: what the adapter can be told to do wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.messaging import Message, MessagingError
from shared.messaging.channel import Send


@dataclass
class Faults:
    """Switched by experiments, heeded by the bridge's doors. With none switched on nothing is different."""

    refuses: bool = False
    """`POST /events` answers 503."""
    copies: int = 1
    """How often each message is sent to its topic, under the same id."""

    async def sends_copies(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]:
        """A ChannelInterceptor."""
        answer = await proceed(messages)
        for _ in range(self.copies - 1):
            answer = await proceed(messages)
        return answer
