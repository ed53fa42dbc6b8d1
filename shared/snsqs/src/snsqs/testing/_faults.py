"""Faults: what a real queue does now and then, decided by a seed, so that it can be repeated."""

import random
from dataclasses import dataclass, field


@dataclass
class Faults:
    """Probabilities, from 0 to 1, of what may happen to a message or to a call.

    The same seed and the same program give the same faults.
    """

    seed: int = 0
    duplicate: float = 0.0
    """A message of a standard queue is delivered twice."""
    reorder: float = 0.0
    """A message of a standard queue overtakes others."""
    delay: float = 0.0
    """A message becomes visible only after up to `delay_most` seconds."""
    delay_most: float = 5.0
    drop_entry: float = 0.0
    """An entry of a batch call is not done, and the answer says so."""
    lose_acknowledgement: float = 0.0
    """A delete is answered as done, and is not."""
    fail_call: float = 0.0
    """A call fails as a whole, as with a refused connection or a throttled account."""
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - to be repeated is the point

    def strikes(self, probability: float) -> bool:
        return self._random.random() < probability

    def seconds(self) -> float:
        """How long the next message is delayed."""
        return self._random.uniform(0, self.delay_most) if self.strikes(self.delay) else 0.0

    def place(self, places: int) -> int:
        """Where among so many messages the next one is put; the last place, unless it overtakes."""
        return self._random.randrange(places) if places and self.strikes(self.reorder) else places
