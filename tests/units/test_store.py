"""Rows on disk: atomic, complete, and refused when corrupt."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.cell import NUMBERS, PLUGINS
from bench.experiment import parse_experiment
from bench.grid import expand
from bench.store import RESULT_COLUMNS, Store, load_results, load_rounds, make_row, write_atomically
from bench.trials import IDENTITY, TRAINING
from protocols.check import CloisterError

PROMISED = """status, error, dataset, partition, model, attack, clustering, protocol, aggregator, privacy, n, f,
cluster_size, rounds, seed, accuracy, loss, attack_success, epsilon, delta, tainted_clusters, bytes_total,
bytes_offline, bytes_mpc, bytes_upload, bytes_per_process_round, mpc_rounds, train_s, mpc_s, runtime_s, key""".replace(
    "\n", " "
).split(", ")


def filled(directory: Path) -> tuple[Store, list[str]]:
    store = Store(directory)
    store.create()
    cells = expand(parse_experiment('[[grid]]\nattack = ["none", "ipm", "alie"]', name="test"))
    point = {"round": 1, "accuracy": 0.5, "loss": 1.0, "bytes": 10, "seconds": 0.1}
    store.put(make_row(cells[0], "a", status="ok", metrics={"accuracy": 0.5, "epsilon": "inf"}, curve=[point]))
    store.put(make_row(cells[1], "b", status="failed", error="it, broke\nhere"))
    store.put(make_row(cells[2], "c", status="skipped", error="does not fit"))
    return store, ["a", "b", "c"]


def test_every_cell_is_a_line_whatever_became_of_it(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    store.write_tables(keys)
    results = load_results(tmp_path)
    assert list(results["status"]) == ["ok", "failed", "skipped"]
    assert list(results["error"]) == ["", "it, broke\nhere", "does not fit"]
    assert list(results["attack"]) == ["none", "ipm", "alie"]
    assert list(load_rounds(tmp_path)["key"]) == ["a"]


def test_the_tables_have_the_promised_columns_in_csv_and_parquet(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    store.write_tables(keys)
    assert set(PROMISED) <= set(RESULT_COLUMNS) == set(load_results(tmp_path).columns)
    assert set(pd.read_parquet(tmp_path / "results.parquet").columns) == set(RESULT_COLUMNS)
    assert {*PLUGINS, *NUMBERS} <= set(RESULT_COLUMNS)


def test_a_table_from_before_updates_could_be_compressed_is_read(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    store.write_tables(keys)
    whole, path = load_results(tmp_path).assign(parameters=650), tmp_path / "results.csv"
    whole.drop(columns=["compression", "coordinates"]).to_csv(path, index=False)
    read = load_results(tmp_path)
    assert set(read.columns) == set(RESULT_COLUMNS)
    assert set(read["compression"]) == {"none"}
    assert set(read["coordinates"]) == {650}
    whole.drop(columns=["coordinates"]).to_csv(path, index=False)
    with pytest.raises(CloisterError, match="coordinates"):
        load_results(tmp_path)


def test_a_table_from_before_checks_of_inputs_were_counted_is_read(tmp_path: Path) -> None:
    """With nothing counted; what was always counted is still missed."""
    store, keys = filled(tmp_path)
    store.write_tables(keys)
    whole, path = load_results(tmp_path), tmp_path / "results.csv"
    uncounted = ["excluded_processes", "honest_support", "differenced_processes"]
    whole.drop(columns=uncounted).to_csv(path, index=False)
    assert load_results(tmp_path)[uncounted].isna().all(axis=None)
    whole.drop(columns=["excluded_clusters"]).to_csv(path, index=False)
    with pytest.raises(CloisterError, match="excluded_clusters"):
        load_results(tmp_path)


def test_a_row_from_before_an_axis_was_there_is_read(tmp_path: Path) -> None:
    """With what held of every run then; an axis that was always there is still missed."""
    store, _ = filled(tmp_path)
    path = tmp_path / "rows" / "a.json"
    row = json.loads(path.read_text())
    del row["labels"]["churn"], row["labels"]["beacon"]
    path.write_text(json.dumps(row))
    read = store.rows()["a"]["labels"]
    assert (read["churn"], read["beacon"]) == (0.0, "given")
    assert {name: read[name] for name in row["labels"]} == row["labels"]
    del row["labels"]["attack"]
    path.write_text(json.dumps(row))
    with pytest.raises(CloisterError, match=r"a\.json' is corrupt"):
        store.rows()


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    assert store.rows()["b"]["error"] == "it, broke\nhere"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "a"}', '{"key": "b", "status": "ok", "labels": {}}', "null"])
def test_a_corrupt_row_is_refused_by_its_name_and_left_alone(tmp_path: Path, text: str) -> None:
    store, _ = filled(tmp_path)
    broken = tmp_path / "rows" / "a.json"
    broken.write_text(text)
    with pytest.raises(CloisterError, match=r"a\.json' is corrupt .* delete it and run again"):
        store.rows()
    assert broken.read_text() == text


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "row.json"
    write_atomically(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_half_written_file_is_no_row(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    (tmp_path / "rows" / ".d.json.1.part").write_text('{"key"')
    assert set(store.rows()) == {"a", "b", "c"}


def test_a_number_that_json_cannot_hold_is_refused_not_written(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    (cell,) = expand(parse_experiment("", name="test"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put(make_row(cell, "d", status="ok", metrics={"loss": float("nan")}))
    assert not (tmp_path / "rows" / "d.json").exists()


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloisterError, match=r"holds no results\.csv"):
        load_results(tmp_path)


def test_results_of_older_runs_have_an_empty_text_where_a_later_column_is(tmp_path: Path) -> None:
    """And one that was always there is still missed."""
    store, keys = filled(tmp_path)
    store.write_tables(keys)
    table = pd.read_csv(tmp_path / "results.csv")
    table.drop(columns="epsilon_leaves_out").to_csv(tmp_path / "results.csv", index=False)
    assert list(load_results(tmp_path)["epsilon_leaves_out"]) == ["", "", ""]
    table.drop(columns="loss").to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(CloisterError, match="column 'loss' is missing"):
        load_results(tmp_path)


def test_rows_hold_no_trace_of_where_they_were_made(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    assert str(tmp_path) not in json.dumps(store.rows())


def test_the_statistics_tell_configurations_apart_by_every_axis_but_the_seed() -> None:
    assert {*IDENTITY, *TRAINING, "seed"} == {*PLUGINS, *NUMBERS}
