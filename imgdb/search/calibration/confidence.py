"""Measured shares and counts, each with the range in which the true one lies (95 % confidence)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

# Standard deviations around the mean that hold 95 % of a normal distribution.
_Z = 1.959963984540054

# What was seen 0 times in n independent trials has, with 95 % confidence, a rate of at most 3 / n.
_RULE_OF_THREE = 3


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured value, and the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def share(value: float, trials: int) -> Rate:
    """Return a share (0 to 1) of `trials` with its score interval; 0 trials say nothing.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927).
    """
    if not trials:
        return Rate(value, 0, 1)
    squared = _Z * _Z / trials
    middle = (value + squared / 2) / (1 + squared)
    half = _Z / (1 + squared) * sqrt(value * (1 - value) / trials + squared / (4 * trials))
    # Rounding must not put the value itself outside.
    return Rate(value, min(value, max(0, middle - half)), max(value, min(1, middle + half)))


def mean_rate(per_picture: Sequence[float], unit: float = 1) -> Rate:
    """Return the mean of counts, one for each picture, with its interval.

    `unit` is how many matches stand behind one that was seen. If none was seen, or hardly any, the
    upper end is three of them among all pictures (the rule of three).
    """
    pictures = len(per_picture)
    mean = fmean(per_picture)
    half = _Z * stdev(per_picture) / sqrt(pictures) if pictures > 1 else mean
    least = _RULE_OF_THREE * unit / pictures
    return Rate(mean, max(0.0, mean - half), max(mean + half, least))
