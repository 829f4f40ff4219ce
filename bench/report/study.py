"""What the report shows, as tables: axes of the experiment, blocks of comparable cells, one table per figure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from bench.statistics import interval_by, summarise
from bench.trials import (
    CLEAN,
    counts,
    distinguishing,
    finished,
    identity_columns,
    numbers,
    require_columns,
    select,
    setting_text,
)
from protocols.check import CloisterError

__all__ = [
    "AXES",
    "SPLIT",
    "Study",
    "curves",
    "exchanges",
    "guarantees",
    "inexact",
    "records",
    "study",
    "telling_attacks",
    "times",
]

AXES = ("attack", "clustering", "privacy")
# In the order in which a difference is told: the name of the run only where nothing else differs.
TOLD_FIRST = ("dataset", "model", "aggregator", "protocol")
MAX_BLOCKS = 6
MAX_PANELS = 96
SPLIT = ("train_s", "mpc_s", "other_s")


@dataclass(frozen=True, kw_only=True)
class Study:
    """The results of one report with what its figures share.

    A block is one combination of the settings that are no axis (attack, clustering, privacy) and that vary; its
    title stands in the column `block` of `results`, `rounds` and `summary`. At most six blocks are drawn,
    fewer where they have many panels: `hidden` counts the others. `follows` names the settings that vary with the
    axes, hence stand in no title; `telling` names those that do.
    """

    results: pd.DataFrame
    rounds: pd.DataFrame
    summary: pd.DataFrame
    attacks: tuple[str, ...]
    clusterings: tuple[str, ...]
    privacies: tuple[str, ...]
    blocks: tuple[str, ...]
    hidden: int
    follows: tuple[str, ...]
    telling: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def drawn(self) -> pd.DataFrame:
        """The configurations of the blocks that are drawn."""
        return select(self.summary, self.summary["block"].isin(self.blocks))

    def has(self, block: str, privacy: str | None = None, clustering: str | None = None) -> bool:
        """Return whether a block has any configuration with that privacy mode and clustering."""
        wanted = {"block": block, "privacy": privacy, "clustering": clustering}
        mask = np.ones(len(self.summary), dtype=bool)
        for name, value in wanted.items():
            mask &= True if value is None else (self.summary[name] == value).to_numpy()
        return bool(mask.any())

    def within(self, block: str, axis: str) -> tuple[str, ...]:
        """Return the labels of an axis that a block has any configuration with, in their order."""
        labels = {"attack": self.attacks, "clustering": self.clusterings, "privacy": self.privacies}[axis]
        own = set(select(self.summary, self.summary["block"] == block)[axis])
        return tuple(label for label in labels if label in own)

    @property
    def seeds(self) -> tuple[int, int]:
        """The smallest and largest number of finished seeds among the configurations with any."""
        ok = [int(number) for number in self.summary["ok"] if number > 0]
        return (min(ok), max(ok)) if ok else (0, 0)


def study(results: pd.DataFrame, rounds: pd.DataFrame) -> Study:
    """Return the results with blocks and axes; CloisterError for an absent column or an unknown status.

    Guarantees:
        No two configurations of one block share attack, clustering and privacy.
        Every configuration belongs to exactly one block.
    """
    require_columns(results, ["key", "seed"])
    require_columns(rounds, ["key", "round", "accuracy"])
    results = results.assign(**{axis: [setting_text(value) for value in results[axis]] for axis in AXES})
    summary = summarise(results)
    settings = [name for name in identity_columns(results) if name not in AXES]
    others = [*TOLD_FIRST, *(name for name in settings if name not in TOLD_FIRST)]
    telling = distinguishing(summary, AXES, others)
    varying = [name for name in others if len(set(map(setting_text, summary[name]))) > 1]
    results = results.assign(block=_titles(results, telling))
    summary = summary.assign(block=_titles(summary, telling))
    blocks = tuple(dict.fromkeys(summary["block"]))
    clusterings, privacies = _ordered(summary["clustering"]), _ordered(summary["privacy"])
    drawn = max(1, min(MAX_BLOCKS, MAX_PANELS // max(len(clusterings) * len(privacies), 1)))
    return Study(
        results=results,
        rounds=_with_settings(rounds, results),
        summary=summary,
        attacks=_ordered(summary["attack"]),
        clusterings=clusterings,
        privacies=privacies,
        blocks=blocks[:drawn],
        hidden=max(len(blocks) - drawn, 0),
        follows=tuple(name for name in varying if name not in telling),
        telling=tuple(telling),
        counts=counts(results),
    )


def _titles(table: pd.DataFrame, telling: Iterable[str]) -> list[str]:
    titles = [""] * len(table)
    for name in telling:
        equals = " = " if pd.api.types.is_numeric_dtype(table[name]) else " "
        parts = [f"{name.replace('_', ' ')}{equals}{setting_text(value)}" for value in table[name]]
        titles = [f"{title} · {part}" if title else part for title, part in zip(titles, parts, strict=True)]
    return titles


def _ordered(values: Iterable[object]) -> tuple[str, ...]:
    """Return the labels in the order of the experiment, "none" first."""
    seen = list(dict.fromkeys(setting_text(value) for value in values))
    return tuple(sorted(seen, key=lambda label: label != CLEAN))


def _with_settings(rounds: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return the rounds of finished trials with the trial's block and axes."""
    keys = ["run", "key"] if {"run"} <= set(rounds.columns) & set(results.columns) else ["key"]
    settings = finished(results).reindex(columns=[*keys, "block", *AXES])
    if settings.duplicated(subset=keys).any():
        raise CloisterError("two finished trials share a key; allowed: one per run, with a `run` column in the rounds")
    return rounds.reindex(columns=[*keys, "round", "accuracy"]).merge(settings, on=keys, how="inner")


def curves(found: Study) -> pd.DataFrame:
    """Return mean, low and high of the accuracy for each block, privacy, clustering, attack and round."""
    drawn = select(found.rounds, found.rounds["block"].isin(found.blocks))
    return interval_by(drawn.sort_values("round"), ["block", "privacy", "clustering", "attack", "round"], "accuracy")


def telling_attacks(found: Study, most: int = 8) -> tuple[str, ...]:
    """Return the attacks that a figure can tell apart: all of them, or no attack and those that cost most accuracy.

    In the order of the study; by the mean accuracy over all configurations that are drawn and have finished.
    """
    if len(found.attacks) <= most:
        return found.attacks
    accuracies: dict[str, list[float]] = {}
    for attack, accuracy in zip(found.drawn["attack"], numbers(found.drawn, "accuracy"), strict=True):
        if attack != CLEAN and not math.isnan(accuracy):
            accuracies.setdefault(str(attack), []).append(float(accuracy))
    costly = sorted(accuracies, key=lambda name: float(np.mean(accuracies[name])))[: most - 1]
    return tuple(name for name in found.attacks if name == CLEAN or name in costly)


def exchanges(found: Study) -> pd.DataFrame:
    """Return bytes per process and round with the accuracy without and under the worst attack.

    One line for each block, privacy and clustering with bytes and a finished trial: bytes (mean), clean, worst
    (accuracies; NaN where absent) and worst_attack.
    """
    ready = select(found.drawn, (found.drawn["ok"] > 0) & (found.drawn["bytes_per_process_round"] > 0))
    lines = []
    for name, group in ready.groupby(["block", "privacy", "clustering"], sort=False):
        block, privacy, clustering = cast(tuple, name)
        accuracy = dict(zip(group["attack"], numbers(group, "accuracy").tolist(), strict=True))
        attacked = {name: value for name, value in accuracy.items() if name != CLEAN and not math.isnan(value)}
        worst = min(attacked, key=attacked.__getitem__, default="")
        lines.append(
            {
                "block": block,
                "privacy": privacy,
                "clustering": clustering,
                "bytes": float(np.mean(numbers(group, "bytes_per_process_round"))),
                "clean": accuracy.get(CLEAN, math.nan),
                "worst": attacked.get(worst, math.nan),
                "worst_attack": worst,
            }
        )
    names = ["block", "privacy", "clustering", "bytes", "clean", "worst", "worst_attack"]
    return pd.DataFrame(lines, columns=names)


def times(found: Study, most: int = 36) -> pd.DataFrame:
    """Return mean seconds of one trial, split into train_s, mpc_s and other_s, for each block, clustering, privacy.

    With more than `most` lines, all privacy modes share a line (then privacy is "").
    """
    done = finished(found.results)
    done = select(done, done["block"].isin(found.blocks) & done["runtime_s"].notna())
    known = np.nan_to_num(numbers(done, "train_s")) + np.nan_to_num(numbers(done, "mpc_s"))
    done = done.assign(
        train_s=np.nan_to_num(numbers(done, "train_s")),
        mpc_s=np.nan_to_num(numbers(done, "mpc_s")),
        other_s=np.maximum(numbers(done, "runtime_s") - known, 0),
    )
    by = ["block", "clustering", "privacy"]
    if len(done[by].drop_duplicates()) > most:
        done = done.assign(privacy="")
    means = cast(pd.DataFrame, done.groupby(by, sort=False)[list(SPLIT)].mean())
    places = {"block": found.blocks, "clustering": found.clusterings, "privacy": (*found.privacies, "")}
    return means.reset_index().sort_values(
        by, key=lambda names: names.map({name: place for place, name in enumerate(places[str(names.name)])})
    )


def guarantees(found: Study) -> pd.DataFrame:
    """Return the drawn configurations with an accuracy and an epsilon in (0, inf]; epsilon as a float.

    The column `mechanism` holds the privacy's name without its parameters.
    """
    ready = select(found.drawn, found.drawn["accuracy"].notna())
    values = pd.to_numeric(cast(pd.Series, ready["epsilon"]), errors="coerce")
    ready = ready.assign(epsilon=values, mechanism=[str(name).partition("(")[0] for name in ready["privacy"]])
    return select(ready, ready["epsilon"] > 0)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a table as dicts by column."""
    return [{str(name): value for name, value in line.items()} for line in table.to_dict("records")]


def inexact(results: pd.DataFrame) -> pd.DataFrame:
    """Return the lines whose encrypted sum differed from the plain one."""
    return select(results, numbers(results, "sum_exact") == 0)
