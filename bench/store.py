"""A run's directory: one atomic JSON row a cell, and the tables made from them."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bench.cell import NUMBERS, PLUGINS, Cell
from bench.churning import CHURNED
from bench.decentralised import EXCHANGED
from bench.folders import make_folder
from bench.judging import DISCLOSED, JUDGED
from bench.measures import MEASURES
from bench.metrics import BY_CLASS
from bench.misconduct import MISCONDUCT
from protocols.check import CloisterError

__all__ = [
    "CURVE_COLUMNS",
    "RESULT_COLUMNS",
    "Store",
    "load_environment",
    "load_results",
    "load_rounds",
    "make_row",
    "write_atomically",
]

_MEASURED = (
    "accuracy",
    "loss",
    "attack_success",
    "epsilon",
    "delta",
    "epsilon_leaves_out",
    "tainted_clusters",
    "tolerated_clusters",
    "clusters",
    "failed_clusters",
    *JUDGED,
    *DISCLOSED,
    *EXCHANGED,
    *BY_CLASS,
    *MEASURES,
    *MISCONDUCT,
    "misconduct_among",
    *CHURNED,
    "parameters",
    "coordinates",
    "bytes_total",
    "bytes_mpc",
    "bytes_offline",
    "bytes_upload",
    "bytes_exchange",
    "bytes_beacon",
    "bytes_per_process_round",
    "mpc_rounds",
    "sum_exact",
    "beacon_s",
    "train_s",
    "mpc_s",
    "runtime_s",
    "diverged_round",
)
RESULT_COLUMNS = ("status", "error", *PLUGINS, *NUMBERS, *_MEASURED, "key")
CURVE_COLUMNS = ("key", *PLUGINS, "seed", "round", "accuracy", "loss", "bytes", "seconds")
# Columns that later versions have added, and what holds of every run before.
_ADDED: Mapping[str, Any] = MappingProxyType(
    {
        **{"beacon": "given", "bytes_beacon": 0, "beacon_s": 0.0, "epsilon_leaves_out": ""},
        **{"churn": 0.0, "reserve": 0, **dict.fromkeys(CHURNED, 0)},
        "misconduct_among": "",
        # What was not counted.
        **dict.fromkeys(("excluded_processes", "honest_support", "differenced_processes"), math.nan),
    }
)
_ADDED_LABELS = {name: value for name, value in _ADDED.items() if name in PLUGINS or name in NUMBERS}
_STATUSES = ("ok", "failed", "skipped")
_TEXTS = (
    *(
        "epsilon",
        "epsilon_leaves_out",
        "misconduct_among",
        "error",
        "predicted_why",
        "observed_why",
        "contradicted",
        "class_accuracies",
    ),
)
_FLAGS = ("sum_exact", *(column for column in JUDGED if column.startswith(("predicted_", "observed_"))))


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either there whole or not at all, even when the process is killed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def make_row(
    cell: Cell,
    key: str,
    *,
    status: str,
    error: str = "",
    metrics: Mapping[str, Any] | None = None,
    curve: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the row of a cell, ready to be written as JSON."""
    return {
        "key": key,
        "status": status,
        "error": error,
        "labels": cell.labels(),
        "cell": cell.as_config(),
        "metrics": dict(metrics or {}),
        "rounds": list(curve),
    }


class Store:
    """The rows of one run.

    Guarantees:
        A row that was written survives a kill at any moment.
        A corrupt row file is refused with its name, and nothing is changed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._rows_directory = directory / "rows"

    def create(self) -> None:
        """Make the directories; CloisterError where that is not possible."""
        make_folder(self.directory)
        make_folder(self._rows_directory)

    def put(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        write_atomically(self._rows_directory / f"{row['key']}.json", json.dumps(row, indent=1, allow_nan=False))

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return all rows by key; CloisterError names a file that is not a row."""
        files = sorted(self._rows_directory.glob("*.json"))
        return {row["key"]: row for row in map(_read_row, files)}

    def write_tables(self, keys: Iterable[str]) -> None:
        """Write results.csv, results.parquet and rounds.csv, one line for each of these keys that has a row."""
        rows = self.rows()
        chosen = [rows[key] for key in keys if key in rows]
        results = pd.DataFrame([_result_line(row) for row in chosen], columns=list(RESULT_COLUMNS))
        curves = pd.DataFrame([line for row in chosen for line in _curve_lines(row)], columns=list(CURVE_COLUMNS))
        write_atomically(self.directory / "results.csv", results.to_csv(index=False))
        write_atomically(self.directory / "rounds.csv", curves.to_csv(index=False))
        part = self.directory / f".results.parquet.{os.getpid()}.part"
        results.to_parquet(part, index=False)
        part.replace(self.directory / "results.parquet")


def _read_row(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        tables = all(isinstance(row[part], dict) for part in ("labels", "cell", "metrics"))
        if tables:
            row["labels"] = _ADDED_LABELS | row["labels"]
        named = tables and {*PLUGINS, *NUMBERS} <= set(row["labels"])
        valid = row["key"] == path.stem and row["status"] in _STATUSES and named and isinstance(row["rounds"], list)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CloisterError(_corrupt(path, f"{type(error).__name__}: {error}")) from None
    if not valid:
        raise CloisterError(_corrupt(path, "its key, status or contents do not fit"))
    return row


def _corrupt(path: Path, reason: str) -> str:
    return f"row file {str(path)!r} is corrupt ({reason}); delete it and run again with --resume {path.parent.parent}"


def _result_line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row["labels"], **row["metrics"], "status": row["status"], "error": row["error"], "key": row["key"]}


def _curve_lines(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {axis: row["labels"][axis] for axis in (*PLUGINS, "seed")}
    return [{**names, **point, "key": row["key"]} for point in row["rounds"]]


def _existing(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise CloisterError(f"{str(directory)!r} holds no {name}; allowed: a directory that `bench run` wrote")
    return path


def load_results(directory: Path) -> pd.DataFrame:
    """Return results.csv of a run with `error` and `epsilon` as text."""
    path = _existing(directory, "results.csv")
    try:
        table = _completed(pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str)))
        absent = [column for column in RESULT_COLUMNS if column not in table]
        numbers = [] if absent else [name for name in (*NUMBERS, *_MEASURED) if name not in (*_TEXTS, *_FLAGS)]
        texts = [name for name in numbers if not pd.api.types.is_numeric_dtype(table[name])]
    except ValueError as error:  # among them what pandas says of empty files and of other encodings
        raise CloisterError(f"{str(path)!r} is not a table of results: {error}") from None
    wrong = absent or texts
    if wrong:
        raise CloisterError(f"{str(path)!r} is not a table of results: column {wrong[0]!r} is missing or no number")
    # An attack or a mechanism may be called "none"; pandas would read some such words as missing values.
    for column in PLUGINS:
        table[column] = table[column].fillna("none")
    return table.fillna(dict.fromkeys(_TEXTS, ""))


def _completed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a run that was made before beacons were run, or updates compressed, with what it lacks."""
    table = table.assign(**{column: value for column, value in _ADDED.items() if column not in table})
    if "compression" in table or "parameters" not in table:
        return table
    return table.assign(compression="none", coordinates=table["parameters"])


def load_rounds(directory: Path) -> pd.DataFrame:
    """Return rounds.csv of a run."""
    return pd.read_csv(_existing(directory, "rounds.csv"))


def load_environment(directory: Path) -> dict[str, Any]:
    """Return environment.json of a run."""
    path = _existing(directory, "environment.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CloisterError(f"{str(path)!r} is not valid JSON: {error}") from None
