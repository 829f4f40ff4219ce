"""The benchmarks against peers measure what they say, at sizes that take no time."""

import dataclasses

import pytest
import torch

from attacks import attacks as registry
from bench.peers import attacks, sums
from bench.peers._byzfl import byzfl
from bench.peers.sums import compare_sums, move_bytes
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


def test_attacks_are_compared_with_byzfls_at_the_sizes_asked_for() -> None:
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    found = attacks.compare_attacks(n=12, f=3, d=50, turns=1)
    assert {each.name for each in found} >= {"alie (float64)", "alie (float32)", "optimal_alie (float32)"}
    assert {(each.n, each.d) for each in found} == {(12, 50)}
    assert all(min(each.ours_s, each.peer_s) > 0 for each in found)


def test_an_attack_that_sends_something_else_than_byzfls_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    factory = type(registry.make(registry.resolve("alie")))
    original = factory.__call__
    monkeypatch.setattr(factory, "__call__", lambda self, view: original(self, view) + 1e-3)
    with pytest.raises(AssertionError, match="alie: byzfl sends something else"):
        attacks.compare_attacks(n=12, f=3, d=50, turns=1)


def _byzfl_error() -> str:
    try:
        byzfl()
    except CloisterError as error:
        return str(error)
    return ""
