"""The report's tables, ready for the template: columns, aligned cells, marks."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.effects import worst_by_mode
from bench.report.layout import break_label
from bench.report.study import Study, records
from bench.report.wording import human_bytes, human_seconds, percent, shown
from bench.report.words import place
from bench.trials import numbers, select, setting_text

__all__ = ["Cell", "Table", "all_results", "configurations", "not_finished", "outcomes", "tainted", "worst_attacks"]

NONE = "–"
MAX_LINES = 2000  # of the results: a browser shows more of them only slowly


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, a softer second line, its tone ("", "bad", "good" or "soft"), whether it is a number."""

    text: str
    note: str = ""
    tone: str = ""
    number: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: names of columns, whether each holds numbers, lines of cells."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column's heading stands above numbers."""
        if not self.lines:
            return (False,) * len(self.columns)
        return tuple(all(line[place].number for line in self.lines) for place in range(len(self.columns)))


def _number(text: str, note: str = "", tone: str = "") -> Cell:
    return Cell(text=text, note=note, tone=tone, number=True)


def _whole(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def _points(value: float) -> str:
    # A true minus sign is as wide as the plus sign.
    return NONE if math.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def _accuracy(line: dict[str, Any]) -> Cell:
    if math.isnan(line["accuracy_low"]):
        return _number(percent(line["accuracy"]))
    half = 50 * (line["accuracy_high"] - line["accuracy_low"])
    return _number(percent(line["accuracy"]), f"± {half:.1f}")


def _settings(found: Study, line: dict[str, Any]) -> list[Cell]:
    return [
        Cell(text=shown("clustering", line["clustering"])),
        *(Cell(text=setting_text(line[name]), number=isinstance(line[name], int | float)) for name in found.telling),
    ]


def _names(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(column.replace("_", " ") for column in columns)


def worst_attacks(found: Study, attacked: pd.DataFrame) -> Table:
    """Return, for each privacy mode, the configuration that an attack hurt most."""
    lines = tuple(
        (
            Cell(text=shown("privacy", line["privacy"])),
            Cell(text=line["attack"], note=place(line, privacy=False)),
            _number(percent(line["clean"])),
            _accuracy(line),
            _number(_points(line["difference"]), _interval(line)),
            _prediction(line),
        )
        for line in worst_by_mode(found, attacked)
    )
    names = ("privacy", "worst attack", "without attack", "under attack", "change", "tainted / tolerated")
    return Table(columns=names, lines=lines)


def _interval(line: dict[str, Any]) -> str:
    return "" if math.isnan(line["low"]) else f"± {50 * (line['high'] - line['low']):.1f}"


def _prediction(line: dict[str, Any]) -> Cell:
    text = f"{_whole(line['tainted_clusters'])} / {_whole(line['tolerated_clusters'])}"
    if line["prediction"] == "unknown":
        return _number(NONE)
    over = line["prediction"] == "exceeds"
    seeds = f" in {line['exceeded']} of {line['ok']} seeds" if over and line["exceeded"] < line["ok"] else ""
    return _number(text, f"exceeds{seeds}" if over else "within", "bad" if over else "good")


def tainted(found: Study, attacked: pd.DataFrame) -> Table:
    """Return tainted and tolerated clusters of each clustering and setting beside the worst accuracy by privacy."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    if np.isnan(numbers(attacked, "accuracy")).all():
        return Table(columns=(), lines=())
    for line in records(attacked):
        groups[line["block"], line["clustering"]].append(line)
    names = ("clustering", *_names(found.telling), "clusters", "tainted / tolerated")
    modes = tuple("lowest with\n" + break_label(shown("privacy", mode), 1.7) for mode in found.privacies)
    lines = tuple(
        (
            *_settings(found, group[0]),
            _number(_whole(_largest(line["clusters"] for line in group))),
            _prediction(_hardest(group)),
            *(_lowest([line for line in group if line["privacy"] == mode]) for mode in found.privacies),
        )
        for group in groups.values()
    )
    return Table(columns=(*names, *modes), lines=lines)


def _largest(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _hardest(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the line in which the most clusters were tainted beyond what the rule tolerates."""
    known = [line for line in group if line["prediction"] != "unknown"]
    return max(known, key=lambda line: line["tainted_clusters"] - line["tolerated_clusters"], default=group[0])


def _lowest(lines: Sequence[dict[str, Any]]) -> Cell:
    measured = [line for line in lines if not math.isnan(line["accuracy"])]
    if not measured:
        return _number(NONE, "no finished trial" if lines else "not run", "soft")
    line = min(measured, key=lambda line: line["accuracy"])
    return _number(percent(line["accuracy"]), f"{line['attack']} {_points(line['difference'])}")


def outcomes(found: Study, attacked: pd.DataFrame) -> Table:
    """Return prediction and observation for every configuration under attack."""
    tones = {"lower": "bad", "not lower": "good"}
    lines = tuple(
        (
            Cell(text=line["attack"]),
            *_settings(found, line),
            Cell(text=shown("privacy", line["privacy"])),
            _number(_whole(line["clusters"])),
            _prediction(line),
            _number(percent(line["clean"])),
            _accuracy(line),
            _number(_points(line["difference"]), _interval(line)),
            Cell(text=line["observation"], tone=tones.get(line["observation"], "soft")),
        )
        for line in records(attacked)
    )
    names = ("attack", "clustering", *_names(found.telling), "privacy", "clusters", "tainted / tolerated")
    return Table(columns=(*names, "without attack", "under attack", "change", "observed"), lines=lines)


def not_finished(found: Study) -> Table:
    """Return failed and skipped trials with their reasons, the seeds of one configuration and reason on one line."""
    rows = select(found.results, found.results["status"] != "ok")
    seeds: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for line in sorted(records(rows), key=lambda line: line["status"]):
        reason = line["error"] if isinstance(line["error"], str) and line["error"] else "no reason given"
        seeds[line["status"], place(line, attack=True), reason].append(_seed(line["seed"]))
    lines = tuple(
        (
            Cell(text=status, tone="bad" if status == "failed" else "soft"),
            Cell(text=where),
            Cell(text=", ".join(own)),
            Cell(text=reason),
        )
        for (status, where, reason), own in seeds.items()
    )
    return Table(columns=("status", "configuration", "seeds", "reason"), lines=lines)


def _seed(value: object) -> str:
    # A cell that is skipped as a whole has no seed.
    text = setting_text(value)
    return "all" if text == "not given" else text


def configurations(found: Study) -> Table:
    """Return every configuration with its means."""
    names = (
        *("attack", "clustering", *_names(found.telling), "privacy", "finished", "accuracy", "loss", "attack\nsuccess"),
        *("epsilon", "sent per process\nand round", "sent\nin all", "time of\na trial"),
    )
    return Table(columns=names, lines=tuple(_configuration(found, line) for line in records(found.summary)))


def _configuration(found: Study, line: dict[str, Any]) -> tuple[Cell, ...]:
    total = line["ok"] + line["failed"] + line["skipped"]
    short = line["ok"] < total or line["missing"]
    reasons = [f"{line[word]} {word}" for word in ("failed", "skipped") if line[word]]
    reasons += [f"{line['missing']} without accuracy"] if line["missing"] else []
    return (
        Cell(text=shown("attack", line["attack"])),
        *_settings(found, line),
        Cell(text=shown("privacy", line["privacy"])),
        _number(f"{line['ok']} of {total}", ", ".join(reasons), "bad" if short else ""),
        _accuracy(line),
        _number(NONE if math.isnan(line["loss"]) else f"{line['loss']:.4g}"),
        _number(percent(line["attack_success"])),
        _number({"inf": "∞", "": NONE}.get(str(line["epsilon"]), str(line["epsilon"]))),
        *(_number(_bytes(line[name])) for name in ("bytes_per_process_round", "bytes_total")),
        _number(NONE if math.isnan(line["runtime_s"]) else human_seconds(line["runtime_s"])),
    )


def _bytes(number: float) -> str:
    return NONE if math.isnan(number) else human_bytes(number)


def all_results(found: Study) -> Table:
    """Return the results as they were stored, at most MAX_LINES of them."""
    table = found.results.drop(columns=["block"]).head(MAX_LINES)
    numeric = {str(name): bool(pd.api.types.is_numeric_dtype(table[name])) for name in table.columns}
    lines = tuple(
        tuple(Cell(text=_plain(value), number=numeric[name]) for name, value in line.items()) for line in records(table)
    )
    return Table(columns=tuple(numeric), lines=lines)


def _plain(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
