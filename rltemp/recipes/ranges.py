"""Ranges of a recipe's fields, stated beside their types: `Annotated[int, Range(1)]`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Length", "Range"]


@dataclass(frozen=True)
class Range:
    """Numbers within `least` and `most`, both allowed, and `above` and `below`, both excluded; None is no limit."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, number: float) -> bool:
        """Whether `number` lies in the range."""
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def wanted(self, nullable: bool = False) -> str:
        """The text after "must" in an error: "be >= 1", "lie in [0, 1)", "be null or > 0".

        Args:
            nullable: whether the field may be null as well.
        """
        low = f"[{self.least:g}" if self.least is not None else f"({self.above:g}" if self.above is not None else ""
        high = f"{self.most:g}]" if self.most is not None else f"{self.below:g})" if self.below is not None else ""
        if low and high:
            return f"{'be null or ' if nullable else ''}lie in {low}, {high}"
        return f"be {'null or ' if nullable else ''}{'>=' if self.least is not None else '>'} {low[1:]}"


@dataclass(frozen=True)
class Length:
    """Lists of at most `most` values."""

    most: int
