"""Figures: what a benchmark measured, beside the floor that it is compared with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number of ours, in `unit`; with `bare`, what a program written by hand needs for the same.

    `at_least` and `at_most` are what it should be: of the ratio to `bare` where there is one, else of
    the number itself.
    """

    name: str
    unit: str
    ours: float
    bare: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.bare is None else self.ours / self.bare

    @property
    def is_met(self) -> bool:
        judged = self.ours if self.ratio is None else self.ratio
        return (self.at_least is None or judged >= self.at_least) and (
            self.at_most is None or judged <= self.at_most
        )

    @property
    def target(self) -> str:
        """Empty when the figure is only told."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""
