"""Mistakes at the command line that nothing below it sees: one line that names the value, and exit code 2."""

from unittest import mock

import pytest

from tests.command import run_bench


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", ""], "preset = '' is unknown"),
        (["run", "", "--resume", "reports"], "--resume runs what the directory's experiment.toml says"),
        (["list", ""], "kind = '' is unknown"),
        (["list", "", "--json"], "kind = '' is unknown"),
    ],
)
def test_an_empty_name_is_no_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    code, out, err = run_bench(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"bench: error: {said}")
    assert err.count("\n") == 1


WHAT = ["--n", "20", "--faulty", "2", "--cluster-size", "5", "--protocol", "additive"]


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["tolerance", *WHAT, "--out", "/proc/nowhere"], "bench.tolerance.answers"),
        (["simulate", *WHAT, "--rounds", "2", "--out", "/proc/nowhere"], "bench.simulate_command.simulate"),
        (["peers", "robust", "--out", "/proc/nowhere"], "bench.peers.robust.compare_robust_median"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], work: str
) -> None:
    with mock.patch(work, side_effect=AssertionError("it computes first")):
        code, out, err = run_bench(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    assert err.startswith("bench: error: out = '/proc/nowhere' cannot be written: ")
    assert err.count("\n") == 1
