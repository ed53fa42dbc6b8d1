"""Faults: what the adapter can be told to do wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from snsqs import Message, MessagingError, Send

from shared.web import Problem


@dataclass
class Faults:
    """Switched by experiments, heeded by the bridge's doors. With none switched on nothing is different."""

    refuses: bool = False
    """`POST /events` answers 503."""
    copies: int = 1
    """How often each message is sent to its topic, under the same id."""

    @contextmanager
    def on(self, *, refuses: bool = False, copies: int = 1) -> Iterator[None]:
        """Switched on until the body ends."""
        self.refuses, self.copies = refuses, copies
        try:
            yield
        finally:
            self.refuses, self.copies = False, 1

    def refuse(self) -> None:
        """A dependency of the endpoint that takes events."""
        if self.refuses:
            raise Problem(503, "the adapter was told to refuse; an experiment is running")

    async def sends_copies(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]:
        """A ChannelInterceptor."""
        answer = await proceed(messages)
        for _ in range(self.copies - 1):
            answer = await proceed(messages)
        return answer
