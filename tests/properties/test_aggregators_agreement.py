"""Rules against byzfl's, on random rows, in the settings in which both define the same; and where they do not.

A rule that byzfl defines too gets a row in `bench.peers._rules.PAIRS`: it is then tried here, timed by
`bench peers aggregators`, and shown by `bench peers hostile`.
"""

from types import ModuleType

import pytest
import torch

from bench.peers._byzfl import byzfl
from bench.peers._rules import PAIRS, Pair, peer_result
from bench.peers.aggregators import AGREEMENT, agreement_error
from protocols.aggregators import aggregators
from protocols.aggregators.pre import pre_aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream

EXPLAINED = [pair for pair in PAIRS if pair.note and not pair.in_place]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    try:
        return byzfl()
    except CloisterError as error:
        pytest.skip(str(error))


def rows_of(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(public_stream(seed, "agreement", n, d).normal(size=(n, d)) + 0.5).float()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize(("n", "f", "d"), [(7, 1, 3), (11, 3, 40), (25, 7, 200)])
def test_where_both_define_the_same_the_results_are_the_same(
    module: ModuleType, pair: Pair, n: int, f: int, d: int
) -> None:
    """To AGREEMENT of the largest number: as many roundings in float32 on either side."""
    most_n, most_f = pair.most or (n, f)
    n, f = min(n, most_n), min(f, most_f)
    for seed in range(3):
        assert agreement_error(pair, rows_of(seed, n, d), f, module) <= AGREEMENT


@pytest.mark.parametrize("pair", EXPLAINED, ids=lambda pair: pair.name)
def test_where_a_note_says_that_they_differ_they_do(module: ModuleType, pair: Pair) -> None:
    """So that no note outlives its reason: as byzfl's rule is by default, some random rows tell the two apart."""

    def apart(seed: int) -> bool:
        rows = rows_of(seed, 11, 5)
        theirs = peer_result(pair.peer(module, 3)(rows.clone()), rows.dtype)
        ours = pair.ours(3)(rows)
        return ours.shape != theirs.shape or float((ours - theirs).abs().max()) > 1e-3

    assert any(apart(seed) for seed in range(300))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_says_whether_byzfl_writes_into_its_input_and_ours_never_does(module: ModuleType, pair: Pair) -> None:
    rows = 10 * rows_of(0, 11, 5)  # long enough to be cut
    given, untouched = rows.clone(), rows.clone()
    pair.peer(module, 3)(given)
    pair.ours(3)(untouched)
    assert torch.equal(given, rows) != pair.in_place
    assert torch.equal(untouched, rows)


def test_a_rule_that_is_another_is_seen(module: ModuleType) -> None:
    median = next(pair for pair in PAIRS if pair.name == "median")
    swapped = Pair(name="trimmed_mean", peer=median.peer)
    assert agreement_error(swapped, rows_of(0, 11, 5), 3, module) > 100 * AGREEMENT


def test_every_pair_is_a_rule_of_ours() -> None:
    for pair in PAIRS:
        registry = pre_aggregators if pair.is_pre else aggregators
        assert pair.name in registry.entries()
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
