"""The benchmarks of robust rules against a peer measure what they say, at sizes that take no time."""

import dataclasses
import sys
from typing import Any

import pytest
import torch

from bench.peers import aggregators as rules
from bench.peers import hostile
from bench.peers._byzfl import PEER, byzfl
from bench.peers._rules import PAIRS
from protocols.aggregators import _screening, aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream


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
            (pair.name + kept, f"{PEER} ({form})")
            for pair in PAIRS
            for kept in (("", " (input kept)") if pair.in_place else ("",))
            for form in ("torch", "numpy")
        ]
        for each in found:
            assert (each.n, each.d) == (9, 50)
            assert set(dataclasses.asdict(each)) == {"name", "peer", "n", "d", "ours_s", "peer_s", "ratio"}
            assert each.ours_s > 0

    def test_every_rule_that_the_peer_defines_has_a_pair(self) -> None:
        module = byzfl()
        parts = [sys.modules[f"byzfl.aggregators.{part}"] for part in ("aggregators", "preaggregators")]
        theirs = {
            name
            for part in parts
            for name, made in vars(part).items()
            if isinstance(made, type) and made.__module__ == part.__name__
        }
        assert {"Median", "ARC"} <= theirs
        made = [_Recorder(module) for _ in PAIRS]
        for pair, recorder in zip(PAIRS, made, strict=True):
            pair.peer(recorder, 1)(torch.arange(12.0).reshape(6, 2))
        assert {name for recorder in made for name in recorder.asked} == theirs

    def test_subsets_are_looked_at_among_few_rows_and_the_name_says_so(self) -> None:
        names = {each.name: each.n for each in rules.compare_aggregators(n=14, f=5, d=3, turns=1)}
        assert names["mda (n = 12, f = 4)"] == names["smea (n = 12, f = 4)"] == 12
        assert names["median"] == 14

    def test_a_peer_that_writes_into_its_input_leaves_the_rows_of_the_next_turn_alone(self) -> None:
        seen: list[torch.Tensor] = []
        (clip,) = (pair for pair in PAIRS if pair.name == "clip")

        def zeroing(rows: torch.Tensor) -> torch.Tensor:
            seen.append(rows.clone())
            return rows.zero_()

        planted = dataclasses.replace(clip, peer=lambda module, f: zeroing)
        rows = torch.ones(5, 2)
        rules._compare(planted, rules._TORCH, rows, 1, turns=3)
        assert torch.equal(rows, torch.ones(5, 2))
        rules._compare(planted, rules._TORCH, rows, 1, turns=3, keeping=True)
        assert torch.equal(rows, torch.ones(5, 2))
        assert [torch.equal(each, rows) for each in seen] == [True] * 8
        careless = dataclasses.replace(planted, in_place=False)
        rules._compare(careless, rules._TORCH, rows, 1, turns=1)
        assert torch.equal(rows, torch.zeros(5, 2))

    @pytest.mark.parametrize("name", ["mda", "smea", "monna", "arc", "clip", "bucketing"])
    def test_a_wrong_rule_does_not_agree_with_the_peer(self, name: str) -> None:
        (pair,) = (pair for pair in PAIRS if pair.name == name)
        rows = torch.from_numpy(public_stream(0, "wrong").normal(size=(9, 5))).float()
        assert rules.agreement_error(pair, rows, 2, byzfl()) <= rules.AGREEMENT
        wrong = dataclasses.replace(pair, agreeing_peer=lambda module, f: lambda x: 1.001 * pair.peer(module, f)(x))
        assert rules.agreement_error(wrong, rows, 2, byzfl()) > rules.AGREEMENT

    def test_rules_that_differ_are_not_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        factory = aggregators.entry("median").factory
        monkeypatch.setattr(factory, "__call__", lambda self, means, sizes, tolerate, given: means.mean(dim=0))
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
        assert {row.scale for row in table} == {1.0, 1e-2, 1e-4}
        words = {row.name: row.ours for row in table if row.ours not in ("inside", "promises nothing")}
        assert words == {
            "centered_clipping": "within (2 iterations - 1) F radius / m",
            "norm_clipped_mean": "within F radius / m",
            "sign_majority": "within 2 step sqrt(d)",
        }
        assert {row.name for row in table if not row.promises} == {"foolsgold", "mean"}
        assert not any(row.survived for row in table if not row.promises)
        assert {(row.name, row.f) for row in table if row.f != 3} == {("bulyan", 2)}  # 11 >= 4 F + 3
        by_cell = {(row.name, row.poison): row.peer for row in table}
        assert by_cell["median", "NaN"] == "not finite"
        assert str(by_cell["mean", "1e30"]).startswith("outside by")

    def test_a_rule_that_moves_farther_than_it_says_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        factory = aggregators.entry("norm_clipped_mean").factory
        reach = factory.reach
        monkeypatch.setattr(factory, "reach", lambda self, sizes, f, d: 0.6 * reach(self, sizes, f, d))
        red = {row for row in hostile.hostile_table(d=3) if row.promises and not row.survived}
        assert {(row.name, row.scale) for row in red} == {("norm_clipped_mean", scale) for scale in (1.0, 1e-2, 1e-4)}
        assert {row.ours for row in red if row.poison == "1e30"} == {"outside by 1.7"}

    def test_a_rule_that_refuses_what_it_says_that_it_withstands_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_screening, "_check_few", refuse)
        table = [row for row in hostile.hostile_table(d=3) if row.name == "bulyan"]
        assert {row.poison for row in table if row.promises and not row.survived} == set(hostile.POISONS) - {"1e-40"}
        assert {row.ours for row in table if not row.survived} == {"refuses"}

    def test_a_rule_that_lets_hostile_rows_pass_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_screening, "hostile_rows", lambda means: torch.zeros(means.shape[:-1], dtype=torch.bool))
        red = {(row.name, row.poison) for row in hostile.hostile_table(d=3) if row.promises and not row.survived}
        assert {("median", "NaN"), ("krum", "NaN"), ("geometric_median", "+inf")} <= red


class _Recorder:
    """The peer's module, and which of its names were asked for."""

    def __init__(self, module: Any) -> None:
        self.module, self.asked = module, list[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self.module, name)


def refuse(patterns: object, tolerate: int) -> None:
    raise CloisterError("planted")
