"""ListenerOptions: concurrency, retries and timeouts of a listener."""

from dataclasses import dataclass
from typing import Literal

from snsqs.aws import POLL_TIMEOUT

Policy = Literal["dead-letter", "ignore", "fail"]


@dataclass(frozen=True)
class ListenerOptions:
    """Options of a listener; times are seconds."""

    max_concurrency: int = 10
    """Handlers that run at the same time."""
    max_pollers: int = 4
    """Concurrent receive calls under load; an idle listener has one."""
    poll_timeout: int = POLL_TIMEOUT
    """Time that a receive call waits for a message (long polling)."""
    max_poll_backoff: float = 10.0
    """Longest wait after a receive call that failed."""
    min_backoff: float = 2.0
    """Longest wait before the second receive of a message that failed; doubles with each receive."""
    max_backoff: float = 15 * 60
    """Longest wait before any receive of a message that failed."""
    max_unavailable: float = 5 * 60
    """Time for which a message is kept and tried again while its handler raises `Unavailable`. After that it
    has failed, like with any other error."""
    manual_ack: bool = False
    """Delete messages only if their handler calls `Acknowledgement.acknowledge`; returning is not enough."""
    unknown_types: Policy = "dead-letter"
    """Treatment of a message whose type has no handler: `ignore` deletes it, `fail` retries it, for a queue
    whose consumers are not all of the same version."""
    untyped: Policy = "dead-letter"
    """Treatment of a message without a type, if there is no `default_type`; as `unknown_types`."""
    default_type: str | None = None
    """Type of a message without one; a type that a handler takes."""
    shutdown_timeout: float = 12.0
    """Time after which running handlers are cancelled when the listener stops. Acknowledging and requeueing
    have six seconds more, so that a listener stops within twenty."""
