"""Faults of queues, drawn from a seed so that they are reproducible."""

import random
from dataclasses import dataclass, field

from snsqs._ranges import reject, require_seconds


@dataclass
class Faults:
    """Probabilities, from 0 to 1, of faults of a message or a call.

    The same seed and the same program give the same faults. Raises ValueError for other numbers.
    """

    seed: int = 0
    duplicate: float = 0.0
    """A message of a standard queue is delivered twice."""
    reorder: float = 0.0
    """A message of a standard queue overtakes others."""
    delay: float = 0.0
    """A message becomes visible only after up to `max_delay` seconds."""
    max_delay: float = 5.0
    drop_entry: float = 0.0
    """An entry of a batch call fails, and the response reports it."""
    lose_acknowledgement: float = 0.0
    """A delete is reported as successful, and has no effect."""
    fail_call: float = 0.0
    """A call fails as a whole, as with a refused connection or a throttled account."""
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("duplicate", "reorder", "delay", "drop_entry", "lose_acknowledgement", "fail_call"):
            probability = getattr(self, name)
            if type(probability) not in (int, float) or not 0 <= probability <= 1:
                reject(self, name, "set a probability from 0 to 1")
        require_seconds(self, "max_delay")
        self._random = random.Random(self.seed)  # noqa: S311 - reproducible on purpose

    def occurs(self, probability: float) -> bool:
        """Draw whether a fault of this probability occurs."""
        return self._random.random() < probability

    def draw_delay(self) -> float:
        """Draw the delay of a message, in seconds."""
        return self._random.uniform(0, self.max_delay) if self.occurs(self.delay) else 0.0

    def draw_position(self, length: int) -> int:
        """Draw the position of a new message in a queue of this length: the end, unless it overtakes."""
        return self._random.randrange(length) if length and self.occurs(self.reorder) else length
