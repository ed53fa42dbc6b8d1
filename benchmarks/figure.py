"""Figures: results of a benchmark next to the floor that they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

Measured = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One of our numbers, in `unit`, and its reference: a program written by hand, or an earlier state.

    `at_least` and `at_most` are the targets: of the ratio to `against` where there is one, otherwise of
    the number itself.
    """

    name: str
    unit: str
    ours: float
    against: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.against is None else self.ours / self.against

    @property
    def is_met(self) -> bool:
        judged = self.ours if self.ratio is None else self.ratio
        return (self.at_least is None or judged >= self.at_least) and (
            self.at_most is None or judged <= self.at_most
        )

    @property
    def target(self) -> str:
        """Empty when the figure is for information only."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""


def compared(
    name: str, ours: Mapping[str, float], bare: Mapping[str, float], *, calls: float
) -> list[Figure]:
    """The figures of two meters; `calls` is the most AWS calls per message."""
    return [
        Figure(f"{name}: throughput", "msg/s", 1 / ours["seconds"], 1 / bare["seconds"], at_least=0.95),
        Figure(f"{name}: client's CPU", "µs/msg", ours["cpu"] * 1e6, bare["cpu"] * 1e6, at_most=1.25),
        Figure(f"{name}: AWS calls", "per msg", ours["calls"], at_most=calls),
    ]
