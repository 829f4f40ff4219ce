"""Every invariant of the suite against every robust statistic, and bugs that it must find."""

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from protocols.in_process import InProcessParties
from protocols.network import PartyCrashedError
from protocols.parties import OpenedSums
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import Access
from protocols.secure_robust.median import Median
from protocols.testing.invariants import PROTOCOL, effort_named
from protocols.testing.invariants import statistics as checks
from protocols.testing.statistics import StatisticCheck, examine_statistic, main, statistic_checks
from protocols.testing.suite import recording
from protocols.tolerance.conditions import Conditions

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
# Hundreds of rounds each, and tests of their own; every profile but `ci` tries them.
COSTLY = {"geometric_median", "nnm", "centered_clipping"} if PROFILE == "ci" else set()
EFFORT = effort_named("nightly" if PROFILE == "nightly" else "dev")
CHECKS = [
    pytest.param(check, id=str(check), marks=pytest.mark.xdist_group(name))
    for name in sorted(set(robust_statistics.entries()) - COSTLY)
    for check in statistic_checks(name, EFFORT)
]


@pytest.mark.parametrize("check", CHECKS)
def test_an_invariant_holds_or_does_not_apply(check: StatisticCheck) -> None:
    with recording() as found:
        result = check()
    assert found == [result]
    assert result.status in {"holds", "not applicable"}
    assert result.text


def test_every_invariant_is_checked_or_has_a_reason_why_not() -> None:
    assert not checks.CHECKS.keys() & checks.REASONS.keys()
    assert checks.CHECKS.keys() | checks.REASONS.keys() == {each.number for each in PROTOCOL}


def test_a_violation_has_a_line_that_shows_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["median", "I12", "I32", "--effort", "dev"]) == 0
    assert "I12  holds" in capsys.readouterr().out
    error = checks._violated(robust_statistics.resolve({"name": "median", "bits": 32}), 32, "it is wrong")
    line = error.replay.removeprefix("python -m protocols.testing.statistics ")
    assert main([line.split("' ")[0].removeprefix("'"), line.split("' ")[1], "--effort", "dev"]) == 0


def status_of(number: int) -> str:
    checks._usual.cache_clear()
    invariant = next(each for each in PROTOCOL if each.number == number)
    try:
        return examine_statistic(robust_statistics.resolve("median"), invariant, effort_named("dev")).status
    finally:
        checks._usual.cache_clear()


class TestPlantedBugs:
    """Each is planted into the real code."""

    @pytest.mark.parametrize("number", [1, 2])
    def test_another_statistic(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Median, "breakdown", lambda self, parties: 0 if _contributes() else (parties - 1) // 2)
        assert status_of(number) == "violated"

    @pytest.mark.parametrize(
        ("number", "change"),
        [
            (1, lambda opened, words: {"sums": opened.sums + 1}),
            (6, lambda opened, words: {"sums": opened.sums + (words[:, 0] > words[:, 1])}),
            (35, lambda opened, words: {"sums": opened.sums + len(words)}),
            (44, lambda opened, words: {"traffic": opened.traffic.beside(opened.traffic)}),
        ],
    )
    def test_other_words_or_another_cost(self, number: int, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        original = InProcessParties.open_sums

        def planted(self: InProcessParties, protocol: Spec, words: Tensor) -> OpenedSums:
            opened = original(self, protocol, words)
            return replace(opened, **change(opened, words))

        monkeypatch.setattr(InProcessParties, "open_sums", planted)
        assert status_of(number) == "violated"

    def test_a_result_outside_of_the_hull(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Median, "decode", lambda self, opened, parties: opened.sums.double())
        assert status_of(26) == "violated"

    @pytest.mark.parametrize(("number", "kept"), [(12, 0), (13, 1)])
    def test_parts_that_too_many_or_too_few_hold(self, number: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
        sets = lambda self: [(0,), (1,)][kept:] if number == 12 else [(0,)]  # noqa: E731
        monkeypatch.setattr(Access, "sets", property(sets))
        assert status_of(number) == "violated"

    @pytest.mark.parametrize("number", [22, 23])
    def test_messages_that_hold_inputs(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        original = InProcessParties.open_sums

        def planted(self: InProcessParties, protocol: Spec, words: Tensor) -> OpenedSums:
            opened = original(self, protocol, words)
            message = self.transcripts[0][0]
            payload = words[0, 1].clone() if bool(words.any()) else torch.zeros(1, dtype=torch.int64)
            self.transcripts[0].append(replace(message, payload=payload))
            return opened

        monkeypatch.setattr(InProcessParties, "open_sums", planted)
        assert status_of(number) == "violated"

    def test_conditions_that_two_faults_mend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Conditions, "failed", lambda self, c, b, k: (b + k) % 2 == 1)
        assert status_of(32) == "violated"

    def test_a_crash_that_opens_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = InProcessParties.open_sums

        def planted(self: InProcessParties, protocol: Spec, words: Tensor) -> OpenedSums:
            try:
                return original(self, protocol, words)
            except PartyCrashedError:
                return InProcessParties(words.shape[1]).open_sums(protocol, words[:, :, :0])

        monkeypatch.setattr(InProcessParties, "open_sums", planted)
        with pytest.raises(Exception, match="coordinates = 0"):
            status_of(34)


def _contributes() -> bool:
    import sys

    return sys._getframe(2).f_code.co_name == "contribute"
