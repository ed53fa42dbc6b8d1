"""Message: a payload, and everything about it in headers."""

import dataclasses
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from snsqs._model import MAX_VERSION
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """What travels through a MessageChannel. Immutable, so it may be shared and sent again.

    After Spring Messaging's `Message`: a payload of any type, and headers, which are all strings.
    """

    payload: T
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def copy(self, **changes: Any) -> "Message[Any]":
        """The same message with other `payload` or `headers`; headers given are merged over the old ones."""
        headers = {**self.headers, **changes.pop("headers", {})}
        return dataclasses.replace(self, headers=headers, **changes)

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
        """The aggregate's version, or None when the sender gave none that can be one."""
        value = self.headers.get(SEQUENCE, "")
        is_version = value.isascii() and value.isdigit() and len(value) <= len(str(MAX_VERSION))
        return int(value) if is_version else None


current_message: ContextVar[Message[str] | None] = ContextVar("snsqs.current_message", default=None)
"""The message that is handled in this context; of a batch, the first."""
