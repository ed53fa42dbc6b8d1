"""Message: a payload with headers."""

import dataclasses
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from snsqs._model import MAX_VERSION
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE

T = TypeVar("T")

_MAX_DIGITS = len(str(MAX_VERSION))


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A payload of any type with headers, which are strings. Immutable, so it may be shared and sent again.

    After Spring Messaging's `Message`. `group_id`, `deduplication_id` and `delay` are options of sending, and
    do not travel as headers.
    """

    payload: T
    headers: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    """Message group to send it in: on FIFO the messages of a group stay in order (default: the subject); on
    standard topics and queues a busy group, such as a tenant, does not delay others (fair queues)."""
    deduplication_id: str | None = None
    """Id by which a FIFO topic or queue drops duplicates for five minutes (default: the message's id)."""
    delay: int | None = None
    """Seconds from 0 to 900 before a standard queue delivers it (default: the delay of the queue)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def copy(self, **changes: Any) -> "Message[Any]":
        """Return a message with another payload or other delivery options, or with `headers` merged over the
        present ones."""
        headers = {**self.headers, **changes.pop("headers", {})}
        return dataclasses.replace(self, headers=headers, **changes)

    @property
    def has_delivery_options(self) -> bool:
        """True when a group, deduplication id or delay is set. Received messages have none."""
        return not (self.group_id is None and self.deduplication_id is None and self.delay is None)

    @property
    def id(self) -> str:
        return self.headers.get(ID, "")

    @property
    def type(self) -> str:
        return self.headers.get(TYPE, "")

    @property
    def subject(self) -> str:
        return self.headers.get(SUBJECT, "")

    @property
    def sequence(self) -> int | None:
        """Version of the aggregate, or None if there is no valid one."""
        value = self.headers.get(SEQUENCE, "")
        is_version = value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS
        return int(value) if is_version else None


current_message: ContextVar[Message[str] | None] = ContextVar("snsqs.current_message", default=None)
"""The message that is handled in this context; of a batch, the first."""
