"""Delays between retries: exponential backoff with full jitter.

After "Exponential Backoff And Jitter" (Marc Brooker, AWS Architecture Blog): delays drawn from the whole
interval spread the retries of clients that failed at the same time.
"""

import random

__all__ = ["full_jitter"]


def full_jitter(attempt: int, *, base: float, cap: float, floor: float = 0.0) -> float:
    """Return the seconds to wait after the `attempt`-th failure (1, 2, …).

    Drawn from 0 to min(cap, base · 2^(attempt-1)), and never less than `floor`.
    """
    ceiling = min(cap, base * 2 ** min(attempt - 1, 30))
    return max(floor, random.uniform(0, ceiling))  # noqa: S311 - not a secret
