"""Which attacks break which configuration, and by how much; and what comes before a rule restores."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.report.study import Study, records
from bench.report.tables import NONE, Cell, Table
from bench.report.wording import percent, shown
from bench.trials import CLEAN, finished, identity_columns, setting_text

__all__ = ["NOTE", "breaks", "restored"]

BROKEN, HURT, LED = 0.30, 0.05, 0.50
_FEWEST = 2
_BETTER = 0.01
NOTE = (
    f"Broken by: attacks under which accuracy is at least {100 * BROKEN:.0f} percentage points below that of the same "
    f"configuration without attack; hurt by: at least {100 * HURT:.0f}; with each the loss, the largest first. "
    f"Means over seeds. Led by: attacks under which at least {100 * LED:.0f} % of the updates that a rule did not "
    "leave out, over all rounds, were Byzantine processes'; measured where each process is a cluster of its own. "
    "What comes before the rule is set beside the same rule without it: better or worse by at least "
    f"{100 * _BETTER:.0f} point."
)


def breaks(found: Study, attacked: pd.DataFrame) -> Table:
    """Return a line for each configuration with the attacks (of `effects`) that break it, hurt it, or do neither.

    Guarantees:
        Every measured attack of a configuration with a baseline is counted once.
        There are no lines where fewer than two attacks were run.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in records(attacked):
        groups[line["block"], line["clustering"], line["privacy"]].append(line)
    if len({line["attack"] for group in groups.values() for line in group}) < _FEWEST:
        return Table(columns=(), lines=())
    used = _byzantine_used(found)
    named = ("led by",) if used else ()
    return Table(
        columns=(*_names(found), "without attack", "broken by", "hurt by", "withstands", *named),
        lines=tuple(
            (*_settings(found, group[0]), *_losses(group), *([_leaders(used[key])] if used else []))
            for key, group in groups.items()
        ),
    )


def _losses(group: Sequence[Mapping[str, Any]]) -> Iterable[Cell]:
    lost = {str(line["attack"]): -line["difference"] for line in group if not math.isnan(line["difference"])}
    broken = {name: loss for name, loss in lost.items() if loss >= BROKEN}
    hurt = {name: loss for name, loss in lost.items() if HURT <= loss < BROKEN}
    yield Cell(text=percent(group[0]["clean"]), number=True)
    yield Cell(text=_listed(broken), tone="bad" if broken else "soft")
    yield Cell(text=_listed(hurt), tone="" if hurt else "soft")
    yield Cell(text=f"{len(lost) - len(broken) - len(hurt)} of {len(lost)}", number=True)


def _byzantine_used(found: Study) -> dict[tuple[str, ...], dict[str, float]]:
    """Return, of single updates that a rule has used, the Byzantine processes' part by attack; none unmeasured."""
    parts: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    done = finished(found.results)
    if not {"excluded_clusters", "process_recall"} <= set(done.columns):
        return {}
    for line in records(done):
        used = line["n"] - line["excluded_clusters"]
        byzantine = line["f"] * (1 - line["process_recall"])
        if line["attack"] != CLEAN and line["clusters"] == line["n"] and used > 0 and not math.isnan(byzantine):
            parts[line["block"], line["clustering"], line["privacy"]][line["attack"]].append(byzantine / used)
    means = {key: {name: sum(each) / len(each) for name, each in own.items()} for key, own in parts.items()}
    return defaultdict(dict, means)


def _leaders(used: Mapping[str, float]) -> Cell:
    leaders = sorted(((name, part) for name, part in used.items() if part >= LED), key=lambda each: (-each[1], each[0]))
    return Cell(text=", ".join(f"{name} {100 * part:.0f} %" for name, part in leaders) or NONE)


def _listed(losses: Mapping[str, float]) -> str:
    if not losses:
        return NONE
    ordered = sorted(losses.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} −{100 * loss:.1f}" for name, loss in ordered)


def restored(found: Study) -> Table:
    """Return a line for each configuration with something before its rule, beside the same rule alone.

    Guarantees:
        Only attacks that were measured with and without it are compared.
    """
    if "pre" not in found.summary:
        return Table(columns=(), lines=())
    identity = [name for name in identity_columns(found.summary) if name not in {"attack", "pre"}]
    accuracies: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    shows: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}
    for line in records(found.summary):
        if not math.isnan(line["accuracy"]):
            group, pre = tuple(setting_text(line[name]) for name in identity), setting_text(line["pre"])
            accuracies[group][pre][line["attack"]] = line["accuracy"]
            shows.setdefault((group, pre), line)
    lines = tuple(
        (*_settings(found, shows[group, pre]), *_gains(accuracies[group][pre], accuracies[group][CLEAN]))
        for group, pre in shows
        if pre != CLEAN and accuracies[group][pre].keys() & accuracies[group].get(CLEAN, {}).keys()
    )
    columns = ("without attack", "attacks under which it is better", "worse", "most won", "most lost")
    return Table(columns=(*_names(found), *columns) if lines else (), lines=lines)


def _gains(own: Mapping[str, float], alone: Mapping[str, float]) -> Iterable[Cell]:
    gained = {attack: own[attack] - alone[attack] for attack in own if attack in alone}
    clean = gained.pop(CLEAN, math.nan)
    yield Cell(text=_signed(clean), number=True)
    yield Cell(text=f"{sum(gain >= _BETTER for gain in gained.values())} of {len(gained)}", number=True)
    yield Cell(text=str(sum(gain <= -_BETTER for gain in gained.values())), number=True)
    for extreme in (max, min):
        attack = extreme(gained, key=lambda name: gained[name], default="")
        yield Cell(text=f"{_signed(gained[attack])} {attack}" if attack else NONE)


def _signed(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def _names(found: Study) -> tuple[str, ...]:
    return ("clustering", *(name.replace("_", " ") for name in found.telling), *_privacy(found))


def _privacy(found: Study) -> tuple[str, ...]:
    return ("privacy",) if len(found.privacies) > 1 else ()


def _settings(found: Study, line: Mapping[str, Any]) -> list[Cell]:
    names = (*found.telling, *_privacy(found))
    return [
        Cell(text=shown("clustering", line["clustering"])),
        *(Cell(text=setting_text(line[name])) for name in names),
    ]
