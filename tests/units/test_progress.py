"""What a user sees while cells run, and before."""

import io
import json
import platform

import pytest
import torch

from bench import estimate
from bench.cell import Cell
from bench.datasets import datasets
from bench.environment import describe_environment
from bench.estimate import estimate_s
from bench.experiment import parse_experiment
from bench.grid import expand
from bench.progress import make_reporter, short_name
from protocols.memory import keep_freed_memory

CELLS = expand(parse_experiment('[[grid]]\nattack = ["none", "ipm"]\nrounds = 2', name="test"))
OK = {"key": "a", "status": "ok", "error": "", "metrics": {"accuracy": 0.5}}
FAILED = {"key": "b", "status": "failed", "error": "it broke", "metrics": {}}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(terminal: io.StringIO, *, as_json: bool) -> None:
    with make_reporter(2, as_json=as_json, terminal=terminal) as reporter:
        for cell, row in zip(CELLS, (OK, FAILED), strict=True):
            reporter.started(cell)
            reporter.finished(cell, row)


def test_a_log_gets_one_plain_line_a_cell_with_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    report(io.StringIO(), as_json=False)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"[1/2] ok {short_name(CELLS[0])}: accuracy 0.500 (ETA ")
    assert second.startswith(f"[2/2] failed {short_name(CELLS[1])}: it broke")


def test_a_machine_gets_json_lines_with_cells_done_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    report(_Terminal(), as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["started", "finished"] * 2
    assert [event["done"] for event in events] == [0, 1, 1, 2]
    assert events[-1]["eta_s"] == 0
    assert events[-1]["error"] == "it broke"


def test_a_terminal_gets_a_bar_that_says_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    report(_Terminal(), as_json=False)
    assert "it broke" in capsys.readouterr().err


def test_an_estimate_grows_with_the_rounds_and_leaves_torch_as_it_was() -> None:
    digits = datasets.make(datasets.resolve("digits")).load(None)
    threads = torch.get_num_threads()
    seconds = [estimate_s([cell] * count, [digits] * count) for cell, count in ((CELLS[0], 1), (CELLS[0], 50))]
    assert 0 < seconds[0] < seconds[1]
    assert torch.get_num_threads() == threads


def test_an_estimate_prices_the_rule_and_the_attack_of_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """By made-up prices of a round: 1 s, and what a rule and an attack add; beside krum a search adds more.

    Each kind is timed once, and an attack that does not search the defence beside the mean only.
    """
    timed: list[tuple[str, str]] = []

    def price(cell: Cell, _: object) -> estimate._Price:
        names = (cell.labels()["attack"], cell.labels()["aggregator"])
        timed.append(names)
        search = {"mean": 10.0, "krum": 40.0}[names[1]]
        round_s = 1.0 + {"mean": 0.0, "krum": 2.0}[names[1]] + {"none": 0.0, "ipm": 5.0, "adaptive": search}[names[0]]
        return estimate._Price(setup_s=100.0, round_s=round_s, score_s=0.5)

    monkeypatch.setattr(estimate, "_timed", price)
    grid = (
        '[[grid]]\nattack = ["none", "ipm", "adaptive"]\naggregator = ["mean", "krum"]\nrounds = 4\nevaluate_every = 2'
    )
    cells = expand(parse_experiment(grid, name="test"))
    digits = datasets.make(datasets.resolve("digits")).load(None)
    found = {
        (cell.labels()["attack"], cell.labels()["aggregator"]): estimate.estimate_s([cell], [digits]) for cell in cells
    }
    for names, round_s in {
        ("none", "mean"): 1.0,
        ("none", "krum"): 3.0,
        ("ipm", "mean"): 6.0,
        ("ipm", "krum"): 8.0,
        ("adaptive", "mean"): 11.0,
        ("adaptive", "krum"): 43.0,
    }.items():
        assert found[names] == 100.0 + 4 * round_s + 3 * 0.5  # after rounds 2 and 4, and at the end
    timed.clear()
    assert estimate.estimate_s(cells, [digits] * 6) == sum(found.values())
    assert sorted(timed) == [
        ("adaptive", "krum"),
        ("adaptive", "mean"),
        ("ipm", "mean"),
        ("none", "krum"),
        ("none", "mean"),
    ]


def test_the_environment_names_versions_and_the_command_and_no_path() -> None:
    described = describe_environment(["bench", "run", "quick"])
    assert described["command"] == "bench run quick"
    assert described["packages"]["crypten"] == "0.4.1"
    assert described["cores"] >= 1
    assert "/" not in json.dumps(described)


def test_keeping_freed_memory_is_understood_by_the_gnu_c_library() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
