"""Which design to choose at which fault rate: of those called safe for a goal, the one that attacks hurt least."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bench.judging import JUDGED
from bench.report.study import Study, records
from bench.statistics import CLEAN, finished, identity_columns, setting_text

__all__ = ["GOALS", "Trials", "chosen", "configurations_of", "fault_rates", "is_choice", "trials_of"]

GOALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "accuracy alone": (),
        "correct": ("correct",),
        "private": ("private",),
        "private and correct": ("private", "correct"),
    }
)
"""What one can want, and the sides on which a design must then have been called safe in all its trials."""
_POINT = 0.01  # accuracies within it are alike enough to go by the cost
_TOLD_FIRST = ("protocol", "cluster_size", "pre", "aggregator")
_NO_DESIGN = frozenset({"attack", "f", "run"})


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What a design came to at one fault rate (Byzantine / all processes), over its finished trials.

    `accuracy` is the mean by attack, `sent` the bytes a process and round, `seconds` a round's secure aggregation, and
    `safe` says for each of GOALS in how many of the `number` trials every verdict called the design safe.
    `complete` tells whether it has an accuracy under every attack that any design has one under at this rate.
    """

    design: str
    rate: float
    accuracy: Mapping[str, float]
    sent: float
    seconds: float
    number: int
    safe: Mapping[str, int]
    complete: bool

    @property
    def worst(self) -> str:
        """The attack that leaves the lowest accuracy."""
        attacked = {name: value for name, value in self.accuracy.items() if name != CLEAN}
        return min(attacked, key=attacked.__getitem__)

    @property
    def lowest(self) -> float:
        """The accuracy that it leaves."""
        return self.accuracy[self.worst]


def trials_of(found: Study) -> list[Trials]:
    """Return every design at every fault rate at which it was attacked; rates ascending, designs as in the experiment.

    Empty where there are not several designs and several rates, or no verdicts, to choose by.
    """
    lines = _judged(found)
    names = _design_names(found, lines)
    groups: dict[tuple[float, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[_rate(line), _label(names, line)].append(line)
    means = {key: accuracy for key, group in groups.items() if set(accuracy := _means(group)) - {CLEAN}}
    rates, designs = sorted({rate for rate, _ in means}), dict.fromkeys(design for _, design in means)
    if len(rates) < 2 or len(designs) < 2:
        return []
    met = {rate: set[str]().union(*(means[key] for key in means if key[0] == rate)) for rate in rates}
    return [
        _trials(design, rate, groups[rate, design], means[rate, design], met[rate])
        for rate in rates
        for design in designs
        if (rate, design) in means
    ]


def _judged(found: Study) -> list[dict[str, Any]]:
    """Return the finished trials with faults and a verdict; results of older runs have none."""
    done = finished(found.results)
    if not {*JUDGED, "mpc_s", "bytes_per_process_round"} <= set(done.columns):
        return []
    return [line for line in records(done) if line["f"] > 0 and str(line["predicted_private"]) in {"True", "False"}]


def _rate(line: Mapping[str, Any]) -> float:
    return float(line["f"]) / float(line["n"])


def configurations_of(found: Study) -> dict[tuple[float, str, str], dict[str, Any]]:
    """Return the lines of the summary by fault rate, design and attack."""
    names = _design_names(found, _judged(found))
    return {(_rate(line), _label(names, line), line["attack"]): line for line in records(found.summary)}


def is_choice(found: Study) -> bool:
    """Return whether the study is one of designs at fault rates."""
    return bool(trials_of(found))


def fault_rates(found: Sequence[Trials]) -> list[float]:
    """Return the fault rates, ascending."""
    return sorted({each.rate for each in found})


def _design_names(found: Study, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    settings = [name for name in identity_columns(found.results) if name not in _NO_DESIGN]
    ordered = [*_TOLD_FIRST, *(name for name in settings if name not in _TOLD_FIRST)]
    return [name for name in ordered if len({setting_text(line.get(name)) for line in lines}) > 1]


def _label(names: Sequence[str], line: Mapping[str, Any]) -> str:
    """Return a design's words: "additive in clusters of 5, then nnm and trimmed_mean, model mlp"."""
    texts = {name: setting_text(line.get(name)) for name in names}
    clusters = f"clusters of {texts['cluster_size']}" if "cluster_size" in texts else "clusters"
    inside = f"{texts['protocol']} in {clusters}" if "protocol" in texts else clusters
    rules = [texts[name] for name in ("pre", "aggregator") if texts.get(name, CLEAN) != CLEAN]
    parts = [inside] if {"protocol", "cluster_size"} & set(texts) else []
    parts += [f"then {' and '.join(rules)}"] if rules else []
    parts += [f"{name.replace('_', ' ')} {text}" for name, text in texts.items() if name not in _TOLD_FIRST]
    return ", ".join(parts)


def _means(group: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean accuracy by attack, of the attacks with any."""
    by_attack: dict[str, list[float]] = defaultdict(list)
    for line in group:
        if not math.isnan(float(line["accuracy"])):
            by_attack[str(line["attack"])].append(float(line["accuracy"]))
    return {attack: sum(values) / len(values) for attack, values in by_attack.items()}


def _trials(
    design: str, rate: float, group: Sequence[Mapping[str, Any]], accuracy: Mapping[str, float], met: set[str]
) -> Trials:
    def called(line: Mapping[str, Any], sides: Sequence[str]) -> bool:
        # Read from a table, flags may be words.
        return all(str(line[f"predicted_{side}"]) == "True" for side in sides)

    return Trials(
        design=design,
        rate=rate,
        accuracy=accuracy,
        sent=_mean([float(line["bytes_per_process_round"]) for line in group]),
        seconds=_mean([float(line["mpc_s"]) / float(line["rounds"]) for line in group]),
        number=len(group),
        safe={goal: sum(called(line, sides) for line in group) for goal, sides in GOALS.items()},
        complete=set(accuracy) >= met,
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def chosen(found: Sequence[Trials], rate: float, goal: str) -> tuple[Trials | None, Trials | None]:
    """Return the design to choose at a rate for a goal, and one that is cheaper and within a point of it, if any.

    Guarantees:
        It was called safe in every trial on the goal's sides, and no design that was has a higher lowest accuracy.
        A design without an accuracy under some attack is not chosen.
    """
    fit = [each for each in found if each.rate == rate and each.complete and each.safe[goal] == each.number]
    if not fit:
        return None, None
    best = min(fit, key=lambda each: (-each.lowest, each.sent))
    alike = [each for each in fit if each.lowest >= best.lowest - _POINT and each.sent < best.sent]
    return best, min(alike, key=lambda each: each.sent, default=None)
