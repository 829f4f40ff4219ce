"""Folders to write into: made first, refused in one line, and written by one run at a time."""

import fcntl
from pathlib import Path
from unittest import mock

import pytest

from bench.experiment import parse_experiment
from bench.folders import held, make_folder
from bench.run import Plan, execute_plan
from bench.worker import DatasetCache
from protocols.check import CloisterError


class TestMakeFolder:
    def test_makes_those_above_it_and_takes_one_that_is_there(self, tmp_path: Path) -> None:
        for _ in range(2):
            make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    @pytest.mark.parametrize("below", ["file", "file/folder"])
    def test_a_file_in_its_place_is_refused_by_name(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(CloisterError, match=r"out = '.*file.*' cannot be written: .*; allowed: a new folder"):
            make_folder(tmp_path / below)

    def test_a_folder_that_may_not_be_written_is_refused(self, tmp_path: Path) -> None:
        with mock.patch("os.access", return_value=False), pytest.raises(CloisterError, match="Permission denied"):
            make_folder(tmp_path)


def run_into(folder: Path) -> None:
    """An experiment of no cells: all that is written is about the run."""
    experiment = parse_experiment("[[grid]]", name="test")
    plan = Plan(experiment=experiment, jobs=(), skips=(), data=DatasetCache(None))
    execute_plan(plan, folder, workers=1, deadline_s=1.0, cell_deadline_s=1.0, data_dir=None, as_json=True)


class TestHeld:
    def test_a_second_run_is_refused_until_the_first_has_ended_and_writes_nothing(self, tmp_path: Path) -> None:
        with held(tmp_path):
            with pytest.raises(CloisterError, match=r"out = '.*' is being written by another run; .*--resume"):
                run_into(tmp_path)
            assert not (tmp_path / "experiment.toml").exists()
        run_into(tmp_path)
        assert (tmp_path / "experiment.toml").is_file()
        with held(tmp_path):
            pass

    def test_a_run_that_holds_nothing_is_seen(self, tmp_path: Path) -> None:
        """The twin: without the lock the second run writes."""
        with mock.patch("fcntl.flock"), held(tmp_path):
            run_into(tmp_path)
        assert (tmp_path / "experiment.toml").is_file()

    def test_another_folder_is_free(self, tmp_path: Path) -> None:
        make_folder(tmp_path / "other")
        with held(tmp_path), held(tmp_path / "other"):
            pass

    def test_a_file_system_without_locks_stops_nothing(self, tmp_path: Path) -> None:
        with mock.patch.object(fcntl, "flock", side_effect=OSError("no locks")), held(tmp_path):
            pass
