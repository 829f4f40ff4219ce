"""The installed command `bench`, as a user runs it: to the end, killed, interrupted, resumed, and asked wrongly."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from bench.catalogue import KINDS, describe
from bench.cli import main
from bench.store import load_environment, load_results
from protocols.check import CloisterError

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
BENCH = Path(sys.executable).with_name("bench")
# Four short cells over two clusters of three, two Byzantine of six processes.
TINY = """
title = "tiny"
seeds = [0, 1]

[[grid]]
n = 6
f = 1
cluster_size = 3
rounds = 3
local_steps = 1
attack = ["none", "sign_flip"]
aggregator = "mean"
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "tiny.toml"
    path.write_text(TINY)
    return path


def bench(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended that ran in this process, without the seconds that it takes to start one."""

    returncode: int
    stdout: str
    stderr: str


def here(*arguments: object) -> Ended:
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        mock.patch.object(sys, "argv", ["bench", *map(str, arguments)]),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(returncode=code, stdout=out.getvalue(), stderr=errors.getvalue())


def lines_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def accuracies(directory: Path) -> dict[str, tuple[str, str]]:
    return {line["key"]: (line["accuracy"], line["loss"]) for line in lines_of(directory)}


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run, which several tests look at and none changes."""
    out = tmp_path_factory.mktemp("run") / "whole"
    ended = here("run", tiny, "--out", out, "--json")
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["event"] for event in events].count("finished") == 4
    assert events[-1]["ok"] == 4
    assert events[-1]["report"] == str(out / "report.html")
    return out


def test_a_run_writes_every_promised_file(finished: Path) -> None:
    names = {"experiment.toml", "environment.json", "results.csv", "results.parquet", "rounds.csv", "report.html"}
    assert names <= {path.name for path in finished.iterdir()}
    assert len(list((finished / "rows").glob("*.json"))) == 4
    assert list((finished / "figures").glob("*.png"))
    assert list((finished / "figures").glob("*.svg"))
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["crypten"] == "0.4.1"
    assert environment["command"].startswith("bench run")


def test_every_line_is_measured_on_encrypted_sums(finished: Path) -> None:
    """2 rounds of messages an aggregation; bytes by the closed form with the uploads of the opened sums."""
    for line in lines_of(finished):
        assert line["status"] == "ok"
        assert line["protocol"] == "additive"
        assert line["sum_exact"] == "True"
        assert line["epsilon"] == "inf"
        assert int(line["mpc_rounds"]) == 3 * 2
        d, clusters, members = int(line["parameters"]), 2, 3
        sums = 2 * (members - 1) * clusters * d * 8 + 2 * members * (members - 1) * 16
        uploads = clusters * d * 8 + members * 32 + (members + 1) * 16
        assert int(line["bytes_offline"]) == 0  # keys are agreed once a pool, and `additive` needs nothing else
        assert int(line["bytes_mpc"]) == 3 * sums
        assert int(line["bytes_upload"]) == 3 * uploads
        assert int(line["bytes_total"]) == 3 * (sums + uploads)
        assert float(line["bytes_per_process_round"]) == pytest.approx((sums + uploads) / 6)


def test_the_report_is_one_file_that_needs_no_network(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']?https?:|url\(["']?https?:|@import""", html)
    assert "sign_flip" in html


def test_a_killed_run_keeps_its_finished_cells_and_resumes_to_the_same_results(finished: Path, tmp_path: Path) -> None:
    """It runs the experiment that another run has written: the same accuracies, to the last digit."""
    out = tmp_path / "killed"
    running = subprocess.Popen(
        [BENCH, "run", finished / "experiment.toml", "--out", out, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line)["event"] == "finished":
            running.send_signal(signal.SIGKILL)
            break
    running.communicate()
    kept = {path.name: path.read_bytes() for path in (out / "rows").glob("*.json")}
    assert 1 <= len(kept) < 4
    assert not (out / "results.csv").exists()

    ended = here("run", "--resume", out, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["reused"] == len(kept)
    assert accuracies(out) == accuracies(finished)
    assert {name: (out / "rows" / name).read_bytes() for name in kept} == kept


def test_ctrl_c_writes_the_tables_of_what_is_finished_and_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    kept = signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background pass on that it is ignored
    running = subprocess.Popen(
        [BENCH, "run", tiny, "--out", out, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, kept)
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line)["event"] == "finished":
            running.send_signal(signal.SIGINT)
            break
    _, errors = running.communicate()
    assert running.returncode == 130
    assert f"bench run --resume {out}" in errors
    assert "Traceback" not in errors
    assert 1 <= len(lines_of(out)) <= 4


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="a whole run: the nightly profile runs it"
)
def test_a_cell_without_a_result_by_its_deadline_is_a_failed_line(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "late"
    ended = bench("run", tiny, "--out", out, "--seeds", 0, "--set", "attack=none", "--cell-deadline", 0.001)
    assert ended.returncode == 1, ended.stderr
    (line,) = lines_of(out)
    assert line["status"] == "failed"
    assert "no result after 0.001 s; --cell-deadline allows more" in line["error"]


def test_a_dry_run_names_cells_skips_and_an_estimate_and_writes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = here("run", tiny, "--dry-run", "--set", "model=mlp", "--set", "model=cnn")
    assert ended.returncode == 0
    assert "4 cells to run, 4 skipped" in ended.stdout
    assert ended.stdout.count("\n  run   ") == ended.stdout.count("\n  skip  ") == 4
    assert "cnn needs square images" in ended.stdout
    assert re.search(r"estimate: about \d+ s", ended.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quik"], "did you mean 'quick'"),
        (["run", "--set", "attack=sign_flop"], "did you mean 'sign_flip'"),
        (["run", "--set", "atack=ipm"], "did you mean 'attack'"),
        (["run", "--set", "f=20"], "allowed: 0 to 19"),
        (["run", "--set", "cluster_size=21"], "allowed: 1 to 20"),
        (["run", "--set", 'privacy={name="local",noise_multiplier=-1.0}'], "noise_multiplier = -1.0 is not allowed"),
        (["run", "--set", "dataset=mnist", "--data-dir", "/nowhere"], "--data-dir DIR"),
        (["run", "--set", "model=cnn"], "nothing to run"),
        (["run", "--jobs", "0"], "jobs = 0 is not allowed"),
        (["run", "--seeds", "a"], "allowed: a number"),
        (["run", "--cell-deadline", "0"], "cell_deadline = 0.0 is not allowed"),
        (["run", "--out", "/dev/null", "--rounds", "1"], "is a file; allowed: a new folder"),
        (["run", "--out", "/proc/nowhere", "--rounds", "1"], "cannot be written"),
        (["run", "quick", "--resume", "/nowhere"], "not with a preset"),
        (["run", "--set", 'attack={name="ipm",tau=nan}'], "tau = nan is not allowed"),
        (["run", "--set", f"learning_rate={10**400}"], "401 digits"),
        (["run", "--set", "seed=1" + "0" * 5000], "allowed: a number"),
        (["run", "--set", "n=100000000"], "nothing to run"),
        (["run", "--resume", "/nowhere"], "holds no experiment.toml"),
        (["list", "attack"], "did you mean 'attacks'"),
        (["report", "/nowhere"], "holds no results.csv"),
        (["compare", "/nowhere", "/nowhere"], "holds no results.csv"),
        (["new", "attack", "ipm"], "is taken"),
        (["new", "attack", "My-Attack"], "allowed: a lower-case Python name"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else None,
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the command's own entry function; the tests around it start the installed command itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in errors
    assert errors.startswith("bench: error: ")
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_corrupt_row_stops_a_resume_with_its_name_and_nothing_is_lost(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "corrupt"
    shutil.copytree(finished, out)
    rows = sorted((out / "rows").glob("*.json"))
    rows[0].write_text(json.dumps({"key": rows[0].stem, "status": "ok", "labels": {}}))
    ended = here("run", "--resume", out)
    assert ended.returncode == 2
    assert rows[0].name in ended.stderr
    assert [path.read_bytes() for path in rows[1:]] == [
        (finished / "rows" / path.name).read_bytes() for path in rows[1:]
    ]


def test_a_run_into_a_folder_that_is_not_empty_is_refused(finished: Path, tiny: Path) -> None:
    ended = here("run", tiny, "--out", finished)
    assert ended.returncode == 2
    assert "--resume" in ended.stderr


def test_a_report_of_two_runs_together_is_written_where_asked(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    ended = here("report", finished, other, "--out", tmp_path / "both")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "both" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.csv", b"", "is not a table of results"),
        ("results.csv", b"accuracy\nabc\n", "is not a table of results"),
        ("results.csv", b"\xff\xfe\x00", "is not a table of results"),
        ("environment.json", b"{", "is not valid JSON"),
    ],
)
def test_a_file_of_a_run_that_was_edited_is_named(
    finished: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    shutil.copytree(finished, tmp_path / "edited")
    (tmp_path / "edited" / name).write_bytes(content)
    load = {"results.csv": load_results, "environment.json": load_environment}[name]
    with pytest.raises(CloisterError, match=message):
        load(tmp_path / "edited")


def test_an_accuracy_that_is_no_number_is_named(finished: Path, tmp_path: Path) -> None:
    text = (finished / "results.csv").read_text()
    (tmp_path / "results.csv").write_text(text.replace(accuracies(finished).popitem()[1][0], "abc"))
    with pytest.raises(CloisterError, match="column 'accuracy' is missing or no number"):
        load_results(tmp_path)


def test_a_mistake_that_nobody_foresaw_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("several\nlines")

    monkeypatch.setattr("bench.catalogue.describe", broken)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "attacks", "--json"])
    monkeypatch.delenv("CLOISTER_TRACEBACK", raising=False)
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "bench: error: unexpected RuntimeError: several lines; CLOISTER_TRACEBACK=1 shows where\n"
    )


def test_comparing_a_run_with_itself_finds_it_identical(finished: Path) -> None:
    ended = here("compare", finished, finished, "--json")
    assert ended.returncode == 0, ended.stderr
    assert {record["verdict"] for record in json.loads(ended.stdout)} == {"identical"}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_there_is_to_choose_from_has_a_summary_and_a_source(kind: str) -> None:
    listed = describe(kind)
    assert listed
    told = {"surface", "knowledge"} if kind == "attacks" else set()
    assert all(set(item) == {"name", "summary", "parameters", "source"} | told for item in listed)
    assert all(item["summary"] and item["source"] for item in listed)


def test_a_list_for_machines_is_a_list_of_objects() -> None:
    listed = json.loads(here("list", "attacks", "--json").stdout)
    assert {item["name"] for item in listed} >= {"none", "sign_flip", "ipm", "label_flip"}
    (ipm,) = [item for item in listed if item["name"] == "ipm"]
    assert ipm["parameters"] == {"tau": 1.0}
    assert (ipm["surface"], ipm["knowledge"]) == ("update", "honest")


THIRD_PARTY = '''
import os
from dataclasses import dataclass
from torch import Tensor
from attacks import OwnView, update_attack

@update_attack(knowledge="own", source="a test", name="third_party", examples=({"scale": 2.0},))
@dataclass(frozen=True, kw_only=True)
class ThirdParty:
    """Sends its own update times -scale."""

    scale: float = 1.0

    def __call__(self, view: OwnView) -> Tensor:
        return -self.scale * view.own

@update_attack(knowledge="own", source="a test", name="deadly", examples=({},))
@dataclass(frozen=True, kw_only=True)
class Deadly:
    """Ends its process."""

    def __call__(self, view: OwnView) -> Tensor:
        os._exit(1)
'''
# The tiny noise is finer than the ring's grid, which only the running cell can tell.
EXTENDED = (
    TINY.replace('["none", "sign_flip"]', '[{ name = "third_party", scale = 3.0 }, "written_attack", "deadly"]')
    + TINY[TINY.index("[[grid]]") :].replace('["none", "sign_flip"]', '"none"')
    + 'privacy = ["none", { name = "local", noise_multiplier = 1e-9 }]\n'
)


def install(folder: Path, source: str, names: Mapping[str, str]) -> None:
    """What pip writes for a package with these entry points, as far as Python looks at it."""
    (folder / "third_party_attack.py").write_text(source)
    info = folder / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    points = "".join(f"{name} = {module}\n" for name, module in names.items())
    (info / "entry_points.txt").write_text(f"[cloister.attacks]\n{points}")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run with attacks of a third party, of which one kills its worker and one is as it is written."""
    folder = tmp_path_factory.mktemp("extended")
    assert here("new", "attack", "written_attack", "--into", folder).returncode == 0
    here_too = {"third_party": "third_party_attack", "deadly": "third_party_attack"}
    install(folder, THIRD_PARTY, {**here_too, "written_attack": "written_attack"})
    (folder / "experiment.toml").write_text(EXTENDED)
    arguments = ("run", folder / "experiment.toml", "--seeds", 0, "--out", folder / "out")
    ended = bench(*arguments, PYTHONPATH=str(folder))
    assert ended.returncode == 1, ended.stderr
    assert "3 ok, 2 failed" in ended.stdout
    return folder


class TestExtending:
    def test_a_third_partys_attacks_are_listed_and_run_by_their_entry_points_one_of_them_as_it_is_written(
        self, extended: Path
    ) -> None:
        assert len((extended / "written_attack.py").read_text().splitlines()) < 40
        listed = json.loads(bench("list", "attacks", "--json", PYTHONPATH=str(extended)).stdout)
        assert {"third_party", "written_attack", "deadly"} <= {item["name"] for item in listed}
        ok = {line["attack"] for line in lines_of(extended / "out") if line["status"] == "ok"}
        assert ok == {"third_party(scale=3.0)", "written_attack", "none"}

    def test_a_cell_that_raises_or_kills_its_worker_is_a_failed_line_and_costs_no_other_cell(
        self, extended: Path
    ) -> None:
        out = extended / "out"
        found = {(line["attack"], line["privacy"][:5]): (line["status"], line["error"]) for line in lines_of(out)}
        assert found["none", "none"] == ("ok", "")
        assert found["deadly", "none"] == ("failed", "the worker process died while it ran this cell")
        assert found["none", "local"][0] == "failed"
        assert "does not fit the ring" in found["none", "local"][1]
        assert "does not fit the ring" in (out / "report.html").read_text()

    def test_a_broken_third_partys_attack_is_named_with_its_reason(self, tmp_path: Path) -> None:
        """In one line of the installed command, as any mistake."""
        install(tmp_path, "import does_not_exist", {"third_party": "third_party_attack"})
        ended = bench("list", "attacks", PYTHONPATH=str(tmp_path))
        assert ended.returncode == 2
        assert ended.stderr.startswith("bench: error: ")
        assert "third_party" in ended.stderr
        assert "No module named 'does_not_exist'" in ended.stderr
        assert ended.stderr.count("\n") == 1

    def test_a_new_attack_in_the_package_conforms_without_another_line(self, tmp_path: Path) -> None:
        """In a copy of the attack package, so that the real one is left alone."""
        root = Path(__file__).parents[2]
        for package in ("protocols", "attacks", "bench"):
            shutil.copytree(root / package, tmp_path / package)
        script = (
            "import os, sys, torch\n"  # once, for the command and, after it, for the checks
            "if os.fork() == 0:\n"
            "    sys.argv = ['bench', 'new', 'attack', 'mine']\n"
            "    import bench.cli\n"
            "    bench.cli.main()\n"
            "assert os.wait()[1] == 0\n"
            "from attacks.testing import conformance_checks, example_specs\n"
            "specs = [spec for spec in example_specs() if spec.name == 'mine']\n"
            "assert len(specs) == 2, specs\n"
            "[check(spec) for spec in specs for check in conformance_checks(spec)]\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
        assert (tmp_path / "attacks" / "update" / "mine.py").is_file()


def test_the_written_experiment_names_every_axis_with_its_value(finished: Path) -> None:
    written = tomllib.loads((finished / "experiment.toml").read_text())
    assert written["title"] == "tiny"
    (block,) = written["grid"]
    assert block["attack"] == [{"name": "none"}, {"name": "sign_flip", "scale": 4.0}]
    assert block["learning_rate"] == [0.1]
