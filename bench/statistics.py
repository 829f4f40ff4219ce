"""Means, intervals and paired differences over seeds, in which a failed trial is always counted."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.trials import STATUSES, counts, finished, identity_columns, numbers, require_columns, select, setting_text
from protocols.check import CloisterError, fraction

__all__ = ["Difference", "Interval", "interval_by", "mean_interval", "paired_difference", "summarise", "worst_epsilon"]

MEANS = (
    "loss",
    "attack_success",
    "bytes_total",
    "bytes_mpc",
    "bytes_offline",
    "bytes_upload",
    "bytes_per_process_round",
    "train_s",
    "mpc_s",
    "runtime_s",
)
SUMMARISED = (
    "epsilon",
    "clusters",
    "tainted_clusters",
    "tolerated_clusters",
    "failed_clusters",
    "sum_exact",
    "diverged_round",
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds with its interval; low and high are NaN for fewer than two values."""

    mean: float
    low: float
    high: float
    count: int
    missing: int
    level: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval; NaN without an interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of b - a over the seeds that both have, its interval and the two-sided p of a paired t test.

    `unpaired` counts the seeds with a finite value on one side only or on neither.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int
    unpaired: int
    level: float


def _half_width(deviation: float, count: int, level: float) -> float:
    if count < 2:
        return math.nan
    return float(stats.t.ppf((1 + level) / 2, count - 1)) * deviation / math.sqrt(count)


def mean_interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Return the mean of the finite values with the Student-t interval of that level.

    Guarantees:
        The interval is the one that scipy.stats.t.interval gives.
        Values that are not finite are counted as missing, never silently dropped.
        One value has a mean and no interval.
    Source: Student (1908), "The probable error of a mean", Biometrika 6.
    """
    fraction(level=level)
    given = np.asarray(list(values), dtype=float)
    finite = given[np.isfinite(given)]
    count = len(finite)
    mean = _mean(finite)
    half = _half_width(float(np.std(finite, ddof=1)) if count > 1 else math.nan, count, level)
    return Interval(mean=mean, low=mean - half, high=mean + half, count=count, missing=len(given) - count, level=level)


def paired_difference(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series, level: float = 0.95
) -> Difference:
    """Return the mean of b - a, paired by seed (the keys or the index), with its Student-t interval and p.

    Raises CloisterError where a seed occurs twice on one side.

    Guarantees:
        The p is the one that scipy.stats.ttest_rel gives.
        Seeds that only one side has are counted as unpaired and do not enter the mean.
        Differences that are all zero have p = 1; equal differences other than zero have p = 0.
    """
    left, right = _by_seed(a, "a"), _by_seed(b, "b")
    deltas = [right.get(seed, math.nan) - left.get(seed, math.nan) for seed in {**left, **right}]
    found = mean_interval(deltas, level)
    return Difference(
        mean=found.mean,
        low=found.low,
        high=found.high,
        p=_p_value(np.array([delta for delta in deltas if math.isfinite(delta)])),
        pairs=found.count,
        unpaired=found.missing,
        level=level,
    )


def _by_seed(values: Mapping[int, float] | pd.Series, name: str) -> dict[Hashable, float]:
    found: dict[Hashable, float] = {}
    for seed, value in values.items():
        if seed in found:
            raise CloisterError(f"{name} has seed {seed!r} twice; allowed: one value for each seed")
        found[seed] = float(value)
    return found


def _p_value(deltas: np.ndarray) -> float:
    if len(deltas) < 2:
        return math.nan
    mean, deviation = float(np.mean(deltas)), float(np.std(deltas, ddof=1))
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) * math.sqrt(len(deltas)) / deviation, len(deltas) - 1))


def interval_by(frame: pd.DataFrame, by: Sequence[str], value: str, level: float = 0.95) -> pd.DataFrame:
    """Return one line per group with the columns of `by`, then mean, low, high, count and missing of `value`.

    Guarantees:
        Each line equals mean_interval of the group's values.
    """
    fraction(level=level)
    require_columns(frame, [*by, value])
    given = numbers(frame, value)
    tidy = frame.assign(_finite=np.where(np.isfinite(given), given, math.nan))
    groups = tidy.groupby(list(by), sort=False, dropna=False)["_finite"]
    table = groups.agg(["mean", "std", "count", "size"]).reset_index()
    counted = table["count"].to_numpy()
    quantile = stats.t.ppf((1 + level) / 2, np.maximum(counted - 1, 1))
    half = np.where(counted > 1, quantile * table["std"].to_numpy() / np.sqrt(np.maximum(counted, 1)), math.nan)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half, missing=table["size"] - table["count"])
    return table.reindex(columns=[*by, "mean", "low", "high", "count", "missing"])


def worst_epsilon(values: Iterable[object]) -> str:
    """Return the weakest of the privacy guarantees: "unsupported", else "inf", else the largest number, else ""."""
    words = {"" if isinstance(value, float) and math.isnan(value) else str(value) for value in values} - {""}
    if "unsupported" in words:
        return "unsupported"
    try:
        return max(words, key=float, default="")
    except ValueError:
        raise CloisterError(
            f"epsilon = {sorted(words)} is not allowed; allowed: a number, 'inf', 'unsupported' or an empty text"
        ) from None


def summarise(results: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return one line per configuration: accuracy with its interval over the finished seeds, counts, means.

    Columns: the identity columns; accuracy, accuracy_low, accuracy_high (of `level`); ok, failed, skipped (lines of
    each status); missing (finished lines without a finite accuracy); means over the finished lines of loss,
    attack_success, bytes and seconds; epsilon (the weakest); clusters (mean); tainted_clusters (largest);
    tolerated_clusters (smallest); exceeded (finished lines with more tainted clusters than tolerated); sum_exact
    (in every line that says); diverged (lines that diverged).

    Raises CloisterError for an unknown status, an absent column, or a configuration with one seed finished twice.

    Guarantees:
        Every line of the results is counted in exactly one of ok, failed and skipped.
        A configuration whose every trial failed keeps its line, with NaN for what was not measured.
    """
    identity = identity_columns(results)
    require_columns(results, ["seed", "accuracy", *MEANS, *SUMMARISED])
    counts(results)
    _refuse_repeats(results, identity)
    # Arrays, because slicing a table once per configuration takes most of the time of a large report.
    measured = {name: numbers(results, name) for name in ("accuracy", *MEANS, *SUMMARISED[1:])}
    texts = {name: results[name].to_numpy(dtype=object) for name in ("status", "epsilon", *identity)}
    code = results.groupby(identity, sort=False, dropna=False).ngroup().to_numpy()
    lines = []
    for at in _positions(code):
        own = {name: values[at] for name, values in measured.items()}
        settings = {name: texts[name][at[0]] for name in identity}
        lines.append({**settings, **_line(own, texts["status"][at], texts["epsilon"][at], level)})
    nothing = {name: np.empty(0) for name in measured}
    return pd.DataFrame(lines, columns=[*identity, *_line(nothing, np.empty(0), np.empty(0), level)])


def _positions(code: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each code, in the order of the codes."""
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1) if len(code) else []


def _refuse_repeats(results: pd.DataFrame, identity: list[str]) -> None:
    done = finished(results)
    twice = select(done, done.duplicated(subset=[*identity, "seed"]))
    if len(twice):
        settings = ", ".join(f"{column}={setting_text(twice.iloc[0][column])}" for column in [*identity, "seed"])
        raise CloisterError(f"the results hold two finished trials of {settings}; allowed: one, or a `run` column")


def _line(
    measured: Mapping[str, np.ndarray], status: np.ndarray, epsilon: np.ndarray, level: float
) -> dict[str, object]:
    done = status == "ok"
    own = {name: values[done] for name, values in measured.items()}
    found = mean_interval(own["accuracy"], level)
    tainted, tolerated = own["tainted_clusters"], own["tolerated_clusters"]
    return {
        "accuracy": found.mean,
        "accuracy_low": found.low,
        "accuracy_high": found.high,
        **{word: int(np.sum(status == word)) for word in STATUSES},
        "missing": found.missing,
        **{name: _mean(own[name]) for name in MEANS},
        "epsilon": worst_epsilon(epsilon[done]),
        "clusters": _mean(own["clusters"]),
        "tainted_clusters": float(np.max(tainted)) if len(tainted) else math.nan,
        "tolerated_clusters": float(np.min(tolerated)) if len(tolerated) else math.nan,
        "exceeded": int(np.sum(tainted > tolerated)),
        "sum_exact": bool(np.all(measured["sum_exact"] != 0)),
        "diverged": int(np.sum(~np.isnan(measured["diverged_round"]))),
    }


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else math.nan
