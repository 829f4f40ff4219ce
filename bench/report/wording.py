"""How numbers, settings and labels read."""

import math

from bench.trials import CLEAN

__all__ = ["human_bytes", "human_seconds", "log_ticks", "percent", "plural", "short", "shown"]


def shown(axis: str, label: str) -> str:
    """Return a label of an axis as a reader says it: "none" is "no attack", "no clustering" or "no privacy"."""
    return f"no {axis}" if label == CLEAN else label


def plural(number: int, word: str) -> str:
    """Return "1 seed" or "3 seeds"."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def short(number: float) -> str:
    """Return a number of two decimals without a leading zero: 0.93 is ".93"."""
    return f"{number:.2f}".removeprefix("0")


def percent(number: float) -> str:
    """Return a fraction of one as percent with one decimal: 0.934 is "93.4 %"."""
    return "–" if math.isnan(number) else f"{100 * number:.1f} %"


def human_bytes(number: float) -> str:
    """Return a number of bytes in decimal units: 1500 is "1.5 kB"."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while abs(number) >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.0f} {units[power]}" if abs(number) >= 100 else f"{number:.3g} {units[power]}"


def human_seconds(number: float) -> str:
    """Return seconds as a reader says them: "0.42 s", "12.3 s", "4.1 min", "2.5 h"."""
    if number < 120:
        return f"{number:.2f} s" if number < 10 else f"{number:.1f} s"
    return f"{number / 60:.1f} min" if number < 7200 else f"{number / 3600:.1f} h"


def log_ticks(low: float, high: float) -> list[float]:
    """Return at most four round numbers from low to high (both > 0), at least two where round ones exist.

    Guarantees:
        Every tick lies between low and high.
    """
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10)), tuple(number / 10 for number in range(10, 100))):
        inside = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(inside) >= 2:
            return inside[:: math.ceil(len(inside) / 4)]
    return []
