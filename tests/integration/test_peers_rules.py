"""The benchmarks of robust rules against a peer measure what they say, at sizes that take no time."""

import dataclasses

import pytest
import torch

from bench.peers import aggregators as rules
from bench.peers import hostile
from bench.peers._byzfl import PEER, byzfl
from bench.peers._rules import PAIRS
from protocols.aggregators import _screening, aggregators
from protocols.check import CloisterError


@pytest.fixture
def _byzfl() -> None:
    try:
        byzfl()
    except CloisterError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_byzfl")
class TestRobustRules:
    def test_every_pair_is_timed_beside_both_forms_of_the_peer(self) -> None:
        found = rules.compare_aggregators(n=9, f=2, d=50, turns=1)
        assert [(each.name, each.peer) for each in found] == [
            (pair.name, f"{PEER} ({form})") for pair in PAIRS for form in ("torch", "numpy")
        ]
        for each in found:
            assert (each.n, each.d) == (9, 50)
            assert set(dataclasses.asdict(each)) == {"name", "peer", "n", "d", "ours_s", "peer_s", "ratio"}
            assert each.ours_s > 0

    def test_rules_that_differ_are_not_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        factory = aggregators.entry("median").factory
        monkeypatch.setattr(factory, "__call__", lambda self, means, sizes, tolerate: means.mean(dim=0))
        with pytest.raises(AssertionError, match="median: the results differ"):
            rules.compare_aggregators(n=9, f=2, d=5, turns=1)

    @pytest.mark.parametrize(("n", "f"), [(6, 2), (5, 0)])
    def test_too_few_rows_and_no_tainted_ones_are_refused(self, n: int, f: int) -> None:
        with pytest.raises(CloisterError, match="not allowed"):
            rules.compare_aggregators(n=n, f=f, d=5, turns=1)

    def test_every_rule_survives_every_hostile_number(self) -> None:
        table = hostile.hostile_table()
        assert {row.name for row in table} == {*aggregators.entries(), "nnm + trimmed_mean"}
        assert [(row.name, row.poison, row.ours) for row in table if row.promises and not row.survived] == []
        assert {row.ours for row in table} == {"inside", "promises nothing"}
        assert {row.name for row in table if not row.promises} == {"foolsgold", "lasa", "mean"}
        assert not any(row.survived for row in table if not row.promises)
        assert {(row.name, row.f) for row in table if row.f != 3} == {("bulyan", 2)}  # 11 >= 4 F + 3
        by_cell = {(row.name, row.poison): row.peer for row in table}
        assert by_cell["median", "NaN"] == "not finite"
        assert by_cell["mean", "1e30"].startswith("outside by")

    def test_a_rule_that_refuses_what_it_says_that_it_withstands_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_screening, "_check_few", refuse)
        table = [row for row in hostile.hostile_table(d=3) if row.name == "bulyan"]
        assert {row.poison for row in table if row.promises and not row.survived} == set(hostile.POISONS) - {"1e-40"}
        assert {row.ours for row in table if not row.survived} == {"refuses"}

    def test_a_rule_that_lets_hostile_rows_pass_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_screening, "hostile_rows", lambda means: torch.zeros(means.shape[:-1], dtype=torch.bool))
        red = {(row.name, row.poison) for row in hostile.hostile_table(d=3) if row.promises and not row.survived}
        assert {("median", "NaN"), ("krum", "NaN"), ("geometric_median", "+inf")} <= red


def refuse(patterns: object, tolerate: int) -> None:
    raise CloisterError("planted")
