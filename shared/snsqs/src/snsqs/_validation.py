"""Validation of outgoing messages before the call, so that an invalid one fails alone."""

import re
from functools import lru_cache

from snsqs._errors import ChannelMisconfigured, InvalidMessage, MessageTooLarge, TerminalError
from snsqs._message import Message
from snsqs._queue import is_fifo

DEFAULT_MAX_BYTES = 240 * 1024
"""Default limit of a message, and least capacity of a call. SNS and SQS permitted 256 KiB for a long time,
and count some overhead of their own."""

MAX_ATTRIBUTES = 10
"""Limit of SQS. SNS accepts more, but does not deliver such a message to a queue."""

MAX_DELAY = 15 * 60

_MIN_MAX_BYTES, _MAX_MAX_BYTES = 1024, 1024 * 1024
_CONTROL_CHARACTERS = bytes(set(range(32)) - set(b"\t\n\r"))
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEADER_NAME = re.compile(r"(?!aws\.|amazon\.|\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
_DELIVERY_ID = re.compile(r"[!-~]{1,128}")


def size_error(message: Message[str], max_bytes: int = DEFAULT_MAX_BYTES) -> MessageTooLarge | None:
    """Return the error with which a channel refuses the message for its size, or None.

    A message is limited to `max_bytes` and ten headers. Its size is that of the payload in UTF-8, plus name,
    data type and value of each header.
    """
    text = "".join((message.payload, *message.headers, *message.headers.values()))
    return _size_error(message, _with_types(message, len(text.encode("utf-8", "surrogatepass"))), max_bytes)


def _with_types(message: Message[str], size: int) -> int:
    return size + len("String") * len(message.headers)


def _size_error(message: Message[str], size: int, max_bytes: int) -> MessageTooLarge | None:
    if size > max_bytes:
        return MessageTooLarge(f"the message has {size} bytes, the limit is {max_bytes}")
    if len(message.headers) > MAX_ATTRIBUTES:
        count = sum(map(bool, message.headers.values()))  # empty ones are not sent
        if count > MAX_ATTRIBUTES:
            return MessageTooLarge(f"the message has {count} headers, the limit is {MAX_ATTRIBUTES}")
    return None


class Destination:
    """Topic or queue of a channel: how its messages are validated and addressed.

    Raises ChannelMisconfigured for a `max_bytes` that no topic or queue has.
    """

    def __init__(
        self,
        name: str,
        *,
        is_topic: bool,
        max_bytes: int = DEFAULT_MAX_BYTES,
        has_trace_header: bool = False,
    ) -> None:
        if type(max_bytes) is not int or not _MIN_MAX_BYTES <= max_bytes <= _MAX_MAX_BYTES:
            raise ChannelMisconfigured(
                f"channel to {name}: max_bytes is {max_bytes!r}; "
                f"set a number of bytes from {_MIN_MAX_BYTES} to {_MAX_MAX_BYTES}"
            )
        self.name = name
        self.is_topic = is_topic
        self.is_fifo = is_fifo(name)
        self.max_bytes = max_bytes
        self.has_trace_header = has_trace_header

    def validate(self, message: Message[str]) -> int:
        """Return the size of a message in bytes. Raises MessageTooLarge, or InvalidMessage for content or
        delivery options that AWS rejects."""
        try:
            data = "".join((message.payload, *message.headers, *message.headers.values())).encode()
        except (TypeError, UnicodeEncodeError):
            raise _content_error(message) from None
        size = _with_types(message, len(data))
        if (error := _size_error(message, size, self.max_bytes)) is not None:
            raise error
        is_text = len(data.translate(None, _CONTROL_CHARACTERS)) == len(data)
        # U+FFFE and U+FFFF, of the characters in UTF-8 the only others outside of XML 1.0
        if not is_text or (not data.isascii() and (b"\xef\xbf\xbe" in data or b"\xef\xbf\xbf" in data)):
            raise _content_error(message)
        if not message.payload:
            raise InvalidMessage("the payload is empty; AWS accepts at least one character")
        for name in message.headers:
            if not _is_header_name(name):
                raise InvalidMessage(
                    f"the header name {name[:256]!r} is invalid; use 1 to 256 letters, digits, '_', '-' and "
                    "single '.' inside, not beginning with 'aws.' or 'amazon.'"
                )
        if self.is_fifo or message.has_delivery_options:
            self._validate_delivery(message)
        return size

    def _validate_delivery(self, message: Message[str]) -> None:
        if (delay := message.delay) is not None:
            if self.is_topic or self.is_fifo:
                kind = "a topic" if self.is_topic else "a FIFO queue"
                raise InvalidMessage(
                    f"delay is {delay!r}, but {self.name} is {kind}; only standard queues delay messages"
                )
            if type(delay) is not int or not 0 <= delay <= MAX_DELAY:
                raise InvalidMessage(f"delay is {delay!r}; set whole seconds from 0 to {MAX_DELAY}")
        if message.group_id is not None:
            validate_id("group_id", message.group_id)
        if self.is_fifo:
            validate_id("group_id (by default ce-subject)", self.group_of(message) or "")
            validate_id("deduplication_id (by default ce-id)", deduplication_of(message))
        elif message.deduplication_id is not None:
            raise InvalidMessage(
                f"deduplication_id is {message.deduplication_id!r} but {self.name} is not FIFO; do not set it"
            )

    def group_of(self, message: Message[str]) -> str | None:
        """Return the message group. On FIFO it is the subject by default, so that the messages of an
        aggregate stay in order; on standard topics and queues only a `group_id` is one."""
        if message.group_id is not None or not self.is_fifo:
            return message.group_id
        return message.subject or "none"


def deduplication_of(message: Message[str]) -> str:
    """Return the deduplication id on FIFO: by default the message's id."""
    return message.id if message.deduplication_id is None else message.deduplication_id


def validate_id(name: str, value: object) -> None:
    """Raise InvalidMessage for a group or deduplication id that SNS and SQS reject."""
    if not isinstance(value, str) or not _DELIVERY_ID.fullmatch(value):
        shown = value[:140] if isinstance(value, str) else value
        raise InvalidMessage(
            f"{name} is {shown!r}; set 1 to 128 ASCII letters, digits and punctuation, without spaces"
        )


@lru_cache(maxsize=1024)
def _is_header_name(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None


def _content_error(message: Message[str]) -> TerminalError:
    parts: list[tuple[str, object]] = [("the payload", message.payload)]
    for name, header in message.headers.items():
        parts += [("a header name", name), (f"the header {name!r}", header)]
    for part, value in parts:
        if not isinstance(value, str):
            return InvalidMessage(f"{part} is of type {type(value).__name__}; convert it to str")
        if found := _NOT_XML.search(value):
            character = f"U+{ord(found[0]):04X} at position {found.start()}"
            return InvalidMessage(f"{part} has {character}, which SQS rejects; remove or encode it")
    raise AssertionError("the content is valid")
