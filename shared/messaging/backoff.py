"""How long to wait before trying again: exponential, with full jitter.

After "Exponential Backoff And Jitter" (Marc Brooker, AWS Architecture Blog): when the wait is drawn from
the whole span, clients that failed together do not come back together.
"""

import random


def full_jitter(attempt: int, *, first: float, most: float, least: float = 0.0) -> float:
    """Seconds to wait after the `attempt`-th failure (1, 2, …): between `least` and first · 2^(attempt-1)."""
    ceiling = min(most, first * 2 ** min(attempt - 1, 30))
    return max(least, random.uniform(0, ceiling))  # noqa: S311 - not a secret
