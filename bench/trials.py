"""The table of a run's trials, a line a cell and seed: which columns name a configuration, and what is in a line."""

import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import pandas as pd

from protocols.check import CloisterError

__all__ = [
    "CLEAN",
    "IDENTITY",
    "STATUSES",
    "TRAINING",
    "counts",
    "distinguishing",
    "finished",
    "identity_columns",
    "numbers",
    "require_columns",
    "select",
    "setting_text",
]

IDENTITY = (
    "dataset",
    "partition",
    "model",
    "attack",
    "clustering",
    "protocol",
    "aggregator",
    "privacy",
    "n",
    "f",
    "cluster_size",
    "rounds",
)
TRAINING = (
    *("topology", "exchange", "compression", "worker", "pre", "root_rows"),
    *("beacon", "placement", "crashed", "curious", "domains", "trust_quality"),
    *(
        "participation",
        "churn",
        "reserve",
        "local_steps",
        "batch_size",
        "learning_rate",
        "server_learning_rate",
        "evaluate_every",
    ),
)
CLEAN = "none"
STATUSES = ("ok", "failed", "skipped")


def finished(results: pd.DataFrame) -> pd.DataFrame:
    """Return the lines whose status is "ok"."""
    return select(results, results["status"] == "ok")


def select(frame: pd.DataFrame, mask: object) -> pd.DataFrame:
    """Return the lines of a table for which the mask holds."""
    return cast(pd.DataFrame, frame[mask])


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as floats, NaN where nothing was measured."""
    return cast(pd.Series, frame[column]).to_numpy(dtype=float, na_value=math.nan)


def require_columns(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise CloisterError unless the table has every named column."""
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise CloisterError(f"the table has no column {', '.join(map(repr, absent))}; its columns: {list(frame)}")


def identity_columns(results: pd.DataFrame) -> list[str]:
    """Return the columns that name a configuration: the settings but the seed.

    The settings of training and the name of the run belong to them where the results have such columns.
    """
    require_columns(results, IDENTITY)
    return [*IDENTITY, *(name for name in (*TRAINING, "run") if name in results.columns)]


def distinguishing(table: pd.DataFrame, first: Sequence[str] = (), others: Sequence[str] = IDENTITY) -> list[str]:
    """Return the `others` that tell the lines apart: those that vary and do not follow from the ones before.

    Guarantees:
        Lines that differ in any of `others` differ in one of `first` or of the returned columns.
    """
    texts = pd.DataFrame({column: table[column].map(setting_text) for column in [*first, *others]}, dtype=str)
    kept: list[str] = []
    for column in others:
        known = len(texts[[*first, *kept]].drop_duplicates()) if first or kept else min(len(texts), 1)
        if len(texts[[*first, *kept, column]].drop_duplicates()) > known:
            kept.append(column)
    return kept


def setting_text(value: object) -> str:
    """Return a setting as a reader writes it: 20 for 20.0, "not given" for a missing one."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "not given"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return the number of lines for each of "ok", "failed" and "skipped"; CloisterError for another status."""
    require_columns(results, ["status"])
    seen = {str(status): int(number) for status, number in results["status"].value_counts(dropna=False).items()}
    unknown = sorted(set(seen) - set(STATUSES))
    if unknown:
        raise CloisterError(f"status = {unknown[0]!r} is unknown; allowed: {', '.join(STATUSES)}")
    return {status: seen.get(status, 0) for status in STATUSES}
