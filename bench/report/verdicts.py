"""The table that opens the report: what each verdict said before a trial ran, and what the trial then showed."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.judging import JUDGED, SIDES
from bench.report.study import Study, records
from bench.report.tables import NONE, Cell, Table
from bench.report.wording import percent, shown
from bench.trials import CLEAN, finished, select, setting_text

__all__ = ["contradictions", "policies", "verdicts"]

# What tells designs apart; attacks and privacy share a line, since no verdict depends on them.
_DESIGN = ("placement", "clustering", "protocol", "aggregator")
_NUMBERS = ("n", "f", "crashed", "curious", "cluster_size")
_MOST_REASONS = 8


def _judged(found: Study) -> pd.DataFrame:
    """Return the finished trials that were judged; results of older runs have no such columns."""
    done = finished(found.results)
    if not set(JUDGED) <= set(done.columns):
        return done.iloc[:0]
    return select(done, done["predicted_private"].notna().to_numpy())


def contradictions(found: Study) -> list[str]:
    """Return one sentence for each trial that broke where its verdict had called it safe."""
    said = [
        f"{_place(line)}, attack {line['attack']}, seed {line['seed']}: {line['contradicted']}; {line['observed_why']}"
        for line in records(_judged(found))
        if _text(line["contradicted"])
    ]
    more = [f"and {len(said) - _MOST_REASONS} more trials"] if len(said) > _MOST_REASONS else []
    return [*said[:_MOST_REASONS], *more]


def _place(line: dict[str, Any]) -> str:
    return ", ".join(f"{name} {setting_text(line[name])}" for name in _DESIGN if name in line)


def verdicts(found: Study) -> Table:
    """Return one line for each design: on each side, in how many trials it was called safe and in how many it held."""
    judged = records(_judged(found))
    if not judged:
        return Table(columns=(), lines=())
    telling = (*_DESIGN, *_NUMBERS)
    design = [name for name in telling if len({setting_text(line.get(name)) for line in judged}) > 1] or ["clustering"]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in judged:
        groups[tuple(_shown(name, line[name]) for name in design)].append(line)
    lines = [
        (
            *(Cell(text=text, number=name in _NUMBERS) for name, text in zip(design, texts, strict=True)),
            *(_side(group, side) for side in SIDES),
            Cell(text=f"{max(int(line['exposed_processes']) for line in group)}", number=True),
            _disclosed(group),
            _accuracy(group),
            _why(group),
        )
        for texts, group in groups.items()
    ]
    names = (
        *(name.replace("_", " ") for name in design),
        *SIDES,
        "exposed",
        "disclosed",
        "accuracy lost",
        "first reason",
    )
    return Table(columns=names, lines=tuple(lines))


def policies(found: Study) -> Table:
    """Return one line for each policy: in how many trials it was safe and held on each side, and its accuracies.

    Empty where there are not several policies, or not several placements of faults to judge them by.
    """
    judged = [line for line in records(_judged(found)) if "placement" in line]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in judged:
        groups[_shown("clustering", line["clustering"])].append(line)
    if len(groups) < 2 or len({line["placement"] for line in judged}) < 2:
        return Table(columns=(), lines=())
    numbers = {policy: _numbers_of(group) for policy, group in groups.items()}
    best = {name: max(each[name] for each in numbers.values()) for name in next(iter(numbers.values()))}
    lines = tuple(
        (
            Cell(text=policy),
            *(_marked(_number(name, value), best=value == best[name]) for name, value in each.items()),
        )
        for policy, each in numbers.items()
    )
    return Table(columns=("clustering", *next(iter(numbers.values()))), lines=lines)


def _numbers_of(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    shares = {
        f"{side} {word}": sum(str(line[f"{kind}_{side}"]) == "True" for line in group) / len(group)
        for side in SIDES
        for kind, word in (("predicted", "safe"), ("observed", "held"))
    }
    attacked = [float(line["accuracy"]) for line in group if line["attack"] != CLEAN] or [math.nan]
    return {**shares, "mean accuracy under attack": sum(attacked) / len(attacked), "lowest": min(attacked)}


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return NONE
    return percent(value) if name in ("mean accuracy under attack", "lowest") else f"{value:.0%}"


def _marked(text: str, *, best: bool) -> Cell:
    return Cell(text=text, note="best", tone="good", number=True) if best else Cell(text=text, number=True)


def _shown(name: str, value: Any) -> str:
    return shown(name, value) if name == "clustering" else setting_text(value)


def _side(group: Sequence[dict[str, Any]], side: str) -> Cell:
    # Read from a table, flags may be words.
    safe, held = ([str(line[f"{kind}_{side}"]) == "True" for line in group] for kind in ("predicted", "observed"))
    broken = any(side in _text(line["contradicted"]).split() for line in group)
    said = "safe" if all(safe) else "unsafe" if not any(safe) else f"safe in {sum(safe)} of {len(safe)}"
    showed = "held" if all(held) else "broke" if not any(held) else f"held in {sum(held)} of {len(held)}"
    tone = "bad" if broken else "good" if all(held) else "soft"
    return Cell(text=said, note=f"{showed}, though called safe" if broken else showed, tone=tone)


def _disclosed(group: Sequence[dict[str, Any]]) -> Cell:
    """Return the first round after which some update would follow from the sums, had it stayed the same."""
    if all(math.isnan(_float(line.get("revealed_rank"))) for line in group):
        return Cell(text=NONE, number=True)
    rounds = [_float(line["disclosed_round"]) for line in group]
    known = [value for value in rounds if not math.isnan(value)]
    return Cell(text=f"round {min(known):.0f}" if known else "never", number=True)


def _float(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _accuracy(group: Sequence[dict[str, Any]]) -> Cell:
    """Return the largest mean loss of accuracy of any attack against no attack, in percentage points."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in group:
        found[str(line["attack"])].append(float(line["accuracy"]))
    means = {attack: sum(values) / len(values) for attack, values in found.items()}
    clean = means.pop(CLEAN, math.nan)
    lost = {attack: clean - mean for attack, mean in means.items() if not math.isnan(clean - mean)}
    if not lost:
        return Cell(text=NONE, number=True)
    worst = max(lost, key=lost.__getitem__)
    return Cell(text=f"{100 * lost[worst]:.1f}", note=worst, number=True)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _why(group: Sequence[dict[str, Any]]) -> Cell:
    reasons = [text for line in group if (text := _text(line["predicted_why"]))]
    return Cell(text=reasons[0].partition(";")[0] if reasons else NONE, tone="soft")
