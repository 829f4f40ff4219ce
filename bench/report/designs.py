"""Which design to choose at which fault rate: of those called safe for a goal, the one that attacks hurt least."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bench.judging import JUDGED
from bench.report.study import Study, records
from bench.trials import CLEAN, identity_columns, numbers, select, setting_text
from protocols.playable import cluster_protocols

__all__ = ["GOALS", "Trials", "among_threads", "chosen", "configurations_of", "fault_rates", "is_choice", "trials_of"]

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
# What a designer chooses. Whatever else varies, such as data, model, placement or crashes, is met, not chosen.
_CHOSEN = (
    *(*_TOLD_FIRST, "clustering", "compression", "privacy", "worker"),
    *("topology", "exchange", "beacon", "participation"),
)


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What a design came to at one fault rate (Byzantine / all processes), over its trials, failed ones included.

    An environment is one combination of all settings that are neither design nor attack, such as data and model.
    `accuracy` is by attack the mean over the trials in the environment where that is lowest; `single` the lowest of any
    one attacked trial, NaN where there is none, from which a mean over seeds may be far; `sent` the bytes a process and
    round and `seconds` a round's secure aggregation, of finished trials, where they are highest. `safe` says for each
    of GOALS in how many of the `number` trials every verdict called the design safe, and `failed` how many failed or
    ended without an accuracy. `complete` tells whether none did, and whether it has every trial (attack, environment
    and seed) that any design has at this rate.
    """

    design: str
    rate: float
    accuracy: Mapping[str, float]
    single: float
    sent: float
    seconds: float
    number: int
    failed: int
    safe: Mapping[str, int]
    complete: bool

    @property
    def worst(self) -> str:
        """The attack that leaves the lowest accuracy; empty where no attacked trial has one."""
        attacked = {name: value for name, value in self.accuracy.items() if name != CLEAN}
        return min(attacked, key=attacked.__getitem__, default="")

    @property
    def lowest(self) -> float:
        """The accuracy that it leaves, a mean over seeds; NaN where there is none."""
        return self.accuracy.get(self.worst, math.nan)


def trials_of(found: Study) -> list[Trials]:
    """Return every design at every fault rate at which it was attacked; rates ascending, designs as in the experiment.

    Empty where there are not several designs and several rates, or no verdicts, to choose by.
    """
    lines = _tried(found)
    names, settings = _design_names(found, lines), _environment_names(found)
    tried: dict[tuple[float, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        tried[_rate(line), _label(names, line)].append(line)
    groups = {key: judged for key, group in tried.items() if (judged := _judged(group)) and _attacked(judged)}
    measured = [key for key, group in groups.items() if set(_lowest(settings, group)) - {CLEAN}]
    if len({rate for rate, _ in measured}) < 2 or len({design for _, design in measured}) < 2:
        return []
    rates, designs = sorted({rate for rate, _ in groups}), dict.fromkeys(design for _, design in groups)
    met: dict[float, set[tuple[str, ...]]] = defaultdict(set)
    for (rate, _), group in groups.items():
        met[rate] |= {_trial(settings, line) for line in group}
    return [
        _trials(design, rate, groups[rate, design], settings, met[rate])
        for rate in rates
        for design in designs
        if (rate, design) in groups
    ]


def _tried(found: Study) -> list[dict[str, Any]]:
    """Return the trials with faults that finished or failed; results of older runs have no verdicts, hence none."""
    if not {*JUDGED, "mpc_s", "bytes_per_process_round"} <= set(found.results.columns):
        return []
    faulty = select(found.results, (numbers(found.results, "f") > 0) & found.results["status"].isin(["ok", "failed"]))
    return records(faulty)


def _judged(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the trials with a verdict and those that failed, which have none; none where others finished without."""
    failed = [line for line in group if line["status"] != "ok"]
    judged = [line for line in group if line["status"] == "ok" and str(line["predicted_private"]) in {"True", "False"}]
    return [*judged, *failed] if judged or len(failed) == len(group) else []


def _attacked(group: Sequence[Mapping[str, Any]]) -> bool:
    return any(line["attack"] != CLEAN for line in group)


def _rate(line: Mapping[str, Any]) -> float:
    return float(line["f"]) / float(line["n"])


def configurations_of(found: Study) -> dict[tuple[float, str, str], dict[str, Any]]:
    """Return the lines of the summary by fault rate, design and attack: of several, the one of lowest accuracy.

    One that has none, since all its trials failed, is lower than all others.
    """

    def height(line: Mapping[str, Any]) -> float:
        return -1.0 if math.isnan(line["accuracy"]) else float(line["accuracy"])

    names = _design_names(found, _tried(found))
    lines = sorted(records(found.summary), key=height, reverse=True)
    return {(_rate(line), _label(names, line), line["attack"]): line for line in lines}


def is_choice(found: Study) -> bool:
    """Return whether the study is one of designs at fault rates."""
    return bool(trials_of(found))


def among_threads(found: Study) -> bool:
    """Return whether secure aggregations ran among threads in some designs and between processes in others."""
    names = {str(line["protocol"]).split("(")[0] for line in _tried(found)}
    return len({cluster_protocols.is_hidden(name) for name in names}) > 1


def fault_rates(found: Sequence[Trials]) -> list[float]:
    """Return the fault rates, ascending."""
    return sorted({each.rate for each in found})


def _design_names(found: Study, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    known = set(identity_columns(found.results))
    return [name for name in _CHOSEN if name in known and len({setting_text(line[name]) for line in lines}) > 1]


def _environment_names(found: Study) -> list[str]:
    # The attack is told apart by itself; f follows from n and the fault rate; and joined runs may hold a design each.
    return [name for name in identity_columns(found.results) if name not in {*_CHOSEN, "attack", "f", "run"}]


def _environment(settings: Sequence[str], line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(setting_text(line[name]) for name in settings)


def _trial(settings: Sequence[str], line: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells a trial from the others of its design and rate."""
    return (str(line["attack"]), setting_text(line["seed"]), *_environment(settings, line))


def _label(names: Sequence[str], line: Mapping[str, Any]) -> str:
    """Return a design's words: "additive in clusters of 5, then nnm and trimmed_mean, compression rand_k"."""
    texts = {name: setting_text(line.get(name)) for name in names}
    clusters = f"clusters of {texts['cluster_size']}" if "cluster_size" in texts else "clusters"
    inside = f"{texts['protocol']} in {clusters}" if "protocol" in texts else clusters
    rules = [texts[name] for name in ("pre", "aggregator") if texts.get(name, CLEAN) != CLEAN]
    parts = [inside] if {"protocol", "cluster_size"} & set(texts) else []
    parts += [f"then {' and '.join(rules)}"] if rules else []
    parts += [f"{name.replace('_', ' ')} {text}" for name, text in texts.items() if name not in _TOLD_FIRST]
    return ", ".join(parts)


def _lowest(settings: Sequence[str], group: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return by attack the mean accuracy of the environment where it is lowest, of the attacks with any."""
    means: dict[str, list[float]] = defaultdict(list)
    for attack in dict.fromkeys(str(line["attack"]) for line in group):
        own = [line for line in group if line["attack"] == attack]
        means[attack] = _means(settings, own, lambda line: float(line["accuracy"]))
    return {attack: min(values) for attack, values in means.items() if values}


def _attacked_accuracies(group: Sequence[Mapping[str, Any]]) -> list[float]:
    values = [float(line["accuracy"]) for line in group if line["attack"] != CLEAN]
    return [value for value in values if math.isfinite(value)]


def _means(
    settings: Sequence[str], group: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> list[float]:
    """Return the mean of a value over the trials of each environment that has it."""
    own: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for line in group:
        if math.isfinite(value(line)):
            own[_environment(settings, line)].append(value(line))
    return [sum(values) / len(values) for values in own.values()]


def _trials(
    design: str, rate: float, group: Sequence[Mapping[str, Any]], settings: Sequence[str], met: set[tuple[str, ...]]
) -> Trials:
    def called(line: Mapping[str, Any], sides: Sequence[str]) -> bool:
        # Read from a table, flags may be words; a failed trial has none.
        return all(str(line[f"predicted_{side}"]) == "True" for side in sides)

    failed = sum(not math.isfinite(float(line["accuracy"])) for line in group)
    sent = _means(settings, group, lambda line: float(line["bytes_per_process_round"]))
    seconds = _means(settings, group, lambda line: float(line["mpc_s"]) / float(line["rounds"]))
    return Trials(
        design=design,
        rate=rate,
        accuracy=_lowest(settings, group),
        single=min(_attacked_accuracies(group), default=math.nan),
        sent=max(sent, default=math.nan),
        seconds=max(seconds, default=math.nan),
        number=len(group),
        failed=failed,
        safe={goal: sum(called(line, sides) for line in group) for goal, sides in GOALS.items()},
        complete=not failed and {_trial(settings, line) for line in group} >= met,
    )


def chosen(found: Sequence[Trials], rate: float, goal: str) -> tuple[Trials | None, Trials | None]:
    """Return the design to choose at a rate for a goal, and one that is cheaper and within a point of it, if any.

    Guarantees:
        It was called safe in every trial on the goal's sides, and no design that was has a higher lowest accuracy.
        A design without an accuracy in some trial that it or another design has at this rate is not chosen.
    """
    fit = [each for each in found if each.rate == rate and each.complete and each.safe[goal] == each.number]
    if not fit:
        return None, None
    best = min(fit, key=lambda each: (-each.lowest, each.sent))
    alike = [each for each in fit if each.lowest >= best.lowest - _POINT and each.sent < best.sent]
    return best, min(alike, key=lambda each: each.sent, default=None)
