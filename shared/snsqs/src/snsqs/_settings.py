"""QueueSettings: visibility, redrive, retention, encryption and tags of a listener's queues."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import NoReturn

from snsqs._errors import MAX_VISIBILITY, ListenerMisconfigured

_DAYS = 24 * 60 * 60
_MAX_RECEIVE_COUNT = 1_000
_MIN_RETENTION, _MAX_RETENTION = 60, 14 * _DAYS
_MAX_TAGS = 50

DEFAULT_RETENTION = 4 * _DAYS
DEFAULT_DEAD_LETTER_RETENTION = 14 * _DAYS


@dataclass(frozen=True)
class QueueSettings:
    """Settings of a listener's queue and dead-letter queue; times are seconds.

    A setting that is None leaves an existing queue as it is, and the listener uses the queue's value; a queue
    that is created has the default. A setting that differs from the queue's is drift: `Topology` corrects it
    in development, and raises TopologyError in production. Raises ListenerMisconfigured for values that SQS
    rejects.
    """

    visibility: int | None = None
    """Time for which a received message is hidden from other consumers; default 30."""
    max_receive_count: int | None = None
    """Receives after which a message that failed moves to the dead-letter queue; default 5."""
    dead_letter_queue: str | None = None
    """Name of the dead-letter queue; default: that of the queue with the suffix `-dlq`."""
    retention: int | None = None
    """Time after which SQS deletes a message; default 4 days."""
    dead_letter_retention: int | None = None
    """Time after which SQS deletes a dead letter; default 14 days, the maximum."""
    kms_key: str | None = None
    """Id, alias or ARN of the KMS key that encrypts both queues; default: the key that SQS manages."""
    tags: Mapping[str, str] | None = field(default=None, hash=False)
    """Tags that both queues have; others are left alone."""

    def __post_init__(self) -> None:
        self._require_integer("visibility", 1, MAX_VISIBILITY)
        self._require_integer("max_receive_count", 1, _MAX_RECEIVE_COUNT)
        self._require_integer("retention", _MIN_RETENTION, _MAX_RETENTION)
        self._require_integer("dead_letter_retention", _MIN_RETENTION, _MAX_RETENTION)
        for name in ("dead_letter_queue", "kms_key"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                self._reject(name, "set a name, or leave it unset")
        if self.tags is not None:
            self._validate_tags(self.tags)
            object.__setattr__(self, "tags", MappingProxyType(dict(self.tags)))

    def or_else(self, defaults: "QueueSettings") -> "QueueSettings":
        """Return the settings, with those of `defaults` where one is not set."""
        unset = [each.name for each in fields(self) if getattr(self, each.name) is None]
        return replace(self, **{name: getattr(defaults, name) for name in unset})

    def _require_integer(self, name: str, minimum: int, maximum: int) -> None:
        value = getattr(self, name)
        if value is not None and (type(value) is not int or not minimum <= value <= maximum):
            self._reject(name, f"set a whole number from {minimum} to {maximum}")

    def _validate_tags(self, tags: object) -> None:
        if not isinstance(tags, Mapping) or len(tags) > _MAX_TAGS:
            self._reject("tags", f"set a mapping with at most {_MAX_TAGS} tags")
        for key, value in tags.items():
            if not isinstance(key, str) or not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
                self._reject("tags", f"the key {key!r} is not a text of 1 to 128 characters, without aws:")
            if not isinstance(value, str) or len(value) > 256:
                self._reject("tags", f"the value {value!r} is not a text of at most 256 characters")

    def _reject(self, name: str, remedy: str) -> NoReturn:
        raise ListenerMisconfigured(f"QueueSettings: {name} is {getattr(self, name)!r}; {remedy}")
