"""What attacks did: clusters tainted and tolerated (the prediction) beside the accuracy lost (the observation)."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.report.study import Study, records
from bench.statistics import paired_difference
from bench.trials import CLEAN, finished, identity_columns, numbers, select, setting_text

__all__ = ["COLUMNS", "effects", "worst_by_mode"]

COLUMNS = ("clean", "difference", "low", "high", "pairs", "prediction", "observation")
Seeds = dict[int, float]


def effects(found: Study) -> pd.DataFrame:
    """Return the summary of each configuration under attack with what was predicted and observed.

    `clean` is the mean accuracy of the same configuration without attack; difference, low and high are the mean of
    accuracy - clean paired by seed and its interval. The prediction is "exceeds" where in any seed more clusters were
    tainted than the rule tolerates, else "within" ("unknown" where that was not measured). The observation is
    "lower" where the interval lies below zero, "not lower" where it does not, else why there is none.

    Guarantees:
        Every configuration under attack has exactly one line, also where no trial finished.
    """
    attacked = select(found.summary, found.summary["attack"] != CLEAN)
    trials = _accuracies(found)
    lines = []
    for line in records(attacked):
        own, clean = _pair(trials, line, identity_columns(found.summary))
        difference = paired_difference(clean, own)
        lines.append(
            {
                **line,
                "clean": sum(clean.values()) / len(clean) if clean else math.nan,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "pairs": difference.pairs,
                "prediction": _prediction(line),
                "observation": _observation(line, clean, difference.low, difference.high),
            }
        )
    return pd.DataFrame(lines, columns=[*found.summary.columns, *COLUMNS])


def _group(line: Mapping[str, Any], identity: list[str]) -> tuple[str, ...]:
    return tuple(setting_text(line[name]) for name in identity if name not in {"attack", "f"})


def _accuracies(found: Study) -> dict[tuple[str, ...], dict[tuple[str, str], Seeds]]:
    """Return the finite accuracies by seed, under (attack, f), under the other settings."""
    identity = identity_columns(found.results)
    done = finished(found.results)
    done = select(done, done["accuracy"].notna())
    trials: dict[tuple[str, ...], dict[tuple[str, str], Seeds]] = defaultdict(lambda: defaultdict(dict))
    for line, accuracy in zip(records(done), numbers(done, "accuracy").tolist(), strict=True):
        trials[_group(line, identity)][line["attack"], setting_text(line["f"])][int(line["seed"])] = accuracy
    return trials


def _pair(
    trials: Mapping[tuple[str, ...], Mapping[tuple[str, str], Seeds]], line: Mapping[str, Any], identity: list[str]
) -> tuple[Seeds, Seeds]:
    """Return the accuracies of a configuration and of the same one without attack.

    Without attack, an experiment may set f to another number: where there is only one such baseline, it serves.
    """
    group = trials.get(_group(line, identity), {})
    own = group.get((line["attack"], setting_text(line["f"])), {})
    baselines = {f: seeds for (attack, f), seeds in group.items() if attack == CLEAN}
    only = next(iter(baselines.values())) if len(baselines) == 1 else {}
    return own, baselines.get(setting_text(line["f"]), only)


def _prediction(line: Mapping[str, Any]) -> str:
    if math.isnan(line["tainted_clusters"]) or math.isnan(line["tolerated_clusters"]):
        return "unknown"
    return "exceeds" if line["exceeded"] else "within"


def _observation(line: Mapping[str, Any], clean: Seeds, low: float, high: float) -> str:
    if math.isnan(line["accuracy"]):
        return "not measured"
    if not clean:
        return "no baseline"
    if math.isnan(low):
        return "no interval"
    return "lower" if high < 0 else "not lower"


def worst_by_mode(found: Study, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each privacy mode with a measured attack, the line of `effects` with the lowest accuracy."""
    measured = [line for line in records(table) if not math.isnan(line["accuracy"])]
    worst = {}
    for mode in found.privacies:
        own = [line for line in measured if line["privacy"] == mode]
        if own:
            worst[mode] = min(own, key=lambda line: line["accuracy"])
    return list(worst.values())
