"""The benchmarks against peers measure what they say, at sizes that take no time."""

import dataclasses

import pytest
import torch

from bench.peers import aggregators as rules
from bench.peers import hostile, sums
from bench.peers._byzfl import PEER, byzfl
from bench.peers._rules import PAIRS
from bench.peers.sums import compare_sums, move_bytes
from protocols.aggregators import _screening, aggregators
from protocols.check import CloisterError
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.registry import Spec


def test_the_sums_are_compared_with_stock_crypten_and_with_the_bytes_they_move() -> None:
    stock, moving = compare_sums(members=3, coordinates=100, turns=1)
    assert stock.peer == "additive_stock"
    wire_bytes = 2 * 2 * 100 * 8 + 2 * 3 * 2 * 16 + 100 * 8 + 3 * 32 + 4 * 16
    assert moving.peer == f"moving {wire_bytes:,} bytes"
    assert min(stock.ours_s, stock.peer_s, moving.peer_s) > 0


def test_a_protocol_that_opens_other_sums_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PartyPool.open_sums

    def planted(self: PartyPool, protocol: Spec, words: torch.Tensor) -> OpenedSums:
        opened = original(self, protocol, words)
        return dataclasses.replace(opened, sums=opened.sums + 1) if protocol.name == "additive_stock" else opened

    monkeypatch.setattr(sums.PartyPool, "open_sums", planted)
    with pytest.raises(AssertionError, match="additive_stock opened other sums"):
        compare_sums(members=2, coordinates=10, turns=1)


@pytest.mark.parametrize("count", [0, 1, 2**18, 2**18 + 1])
def test_all_bytes_are_moved(count: int) -> None:
    assert move_bytes(count) == count


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
        assert [(row.name, row.poison, row.ours) for row in table if not row.survived] == []
        by_cell = {(row.name, row.poison): row.peer for row in table}
        assert by_cell["median", "NaN"] == "not finite"
        assert by_cell["mean", "1e30"].startswith("outside by")

    def test_a_rule_that_lets_hostile_rows_pass_is_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_screening, "hostile_rows", lambda means: torch.zeros(means.shape[:-1], dtype=torch.bool))
        red = {(row.name, row.poison) for row in hostile.hostile_table(d=3) if not row.survived}
        assert {("median", "NaN"), ("krum", "NaN"), ("geometric_median", "+inf")} <= red
