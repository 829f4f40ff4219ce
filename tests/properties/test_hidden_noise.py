"""Noise that delegates sample together: it opens with the result, once, and enough of it is whatever t2 know."""

import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums import _noise, hidden_sums
from protocols.hidden_sums._noise import JointNoise, opened_with_noise, part_unknown
from protocols.hidden_sums.hidden import Hidden
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.playable import cluster_protocols
from protocols.privacy.ledger import Ledger
from protocols.registry import Spec
from protocols.secure_robust._access import Access
from protocols.secure_robust._engine import BITS, WORDS, Engine
from protocols.testing.keyrings import replayable_keyring
from tests.robust import leaking

THREE = Access(parties=3, threshold=1)
NOISE = 0.01
"""In units of the ring: 655.36."""


def noisy(**parameters: Any) -> Spec:
    return cluster_protocols.resolve({"name": "hidden", "group_size": 2, "noise_std": NOISE, **parameters})


def made(spec: Spec) -> Hidden:
    protocol = hidden_sums.make(spec)
    assert isinstance(protocol, Hidden)
    return protocol


def run(spec: Spec, words: Tensor) -> OpenedSums:
    return InProcessParties(words.shape[1], keyring=replayable_keyring(0)).open_sums(spec, words)


def words_of(parties: int, clusters: int, coordinates: int) -> Tensor:
    return torch.randint(-(2**40), 2**40, (clusters, parties, coordinates), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("outer", ["mean", "median", "trimmed_mean"])
@pytest.mark.parametrize("parties", [6, 7])
def test_the_opened_words_are_the_reference_plus_all_shares_at_the_cost_of_the_formula(
    outer: str, parties: int
) -> None:
    spec, words = noisy(outer=outer), words_of(parties, 2, 70)
    shares: list[Tensor] = []
    original = _noise.share_of_noise

    def kept(*arguments: Any) -> Tensor:
        shares.append(original(*arguments))
        return shares[-1]

    with mock.patch("protocols.hidden_sums._combining.share_of_noise", kept):
        opened = run(spec, words)
    assert len(shares) == 3
    assert torch.equal(opened.sums, made(spec).reference(words).sums + sum(shares))
    assert opened.traffic == made(spec).cost(parties=parties, clusters=2, coordinates=70)


def test_the_variance_is_that_of_all_shares_and_any_t2_less_have_what_is_asked_for() -> None:
    """Of N = 2 x 20,000 draws a sample variance has a relative deviation of sqrt(2 / N) = 0.7 %; six of them: 4.3 %.

    Eight such checks raise a false alarm in 2e-8 of runs; noise sized for g adders instead of g - t2 misses by 33 %.
    The correlation of two shares deviates by 1 / sqrt(N), six of them 3 %, where shares that are alike have 100 %.
    """
    slack = 6 * math.sqrt(2 / 40_000)
    spec, words = noisy(outer="mean"), torch.zeros(2, 6, 20_000, dtype=torch.int64)
    shares: list[Tensor] = []
    original = _noise.share_of_noise
    with mock.patch(
        "protocols.hidden_sums._combining.share_of_noise", lambda *given: shares.append(original(*given)) or shares[-1]
    ):
        opened = run(spec, words)
    asked = (NOISE * 2**16) ** 2
    assert float(opened.sums.double().var()) == pytest.approx(asked * 3 / 2, rel=slack)
    for left_out in range(3):
        honest = sum(share for place, share in enumerate(shares) if place != left_out)
        assert isinstance(honest, Tensor)
        assert float(honest.double().var()) == pytest.approx(asked, rel=slack)
    correlations = np.corrcoef(torch.stack(shares).view(3, -1).numpy())
    assert np.abs(correlations - np.eye(3)).max() < 6 / math.sqrt(40_000)


@pytest.mark.parametrize(("parties", "weight"), [(6, 1), (7, 3)])
def test_the_noise_is_sized_by_what_one_member_can_change(parties: int, weight: int) -> None:
    """Groups of 3, 2 and 2 are weighted 2, 3 and 3, to means over 6; a mean over members weighs all alike."""
    noise = made(noisy()).noise_on(made(noisy()).groups_of(parties=parties))
    assert noise is not None
    assert noise.std == pytest.approx(NOISE * 2**16 * weight)
    of_members = made(noisy(outer="mean"))
    noise = of_members.noise_on(of_members.groups_of(parties=parties))
    assert noise is not None
    assert noise.std == pytest.approx(NOISE * 2**16)


def test_one_update_moves_a_result_by_no_more_than_its_weight() -> None:
    """Medians of 3 and 4 groups of unequal sizes: a change by r of one member's word moves the words by w r at most."""
    rng = np.random.default_rng(0)
    for parties in (7, 9):
        protocol = Hidden(group_size=2)
        groups = protocol.groups_of(parties=parties)
        heaviest = math.lcm(2, 3) // 2
        for _ in range(300):
            words = torch.from_numpy(rng.integers(-20, 20, (1, parties, 4)))
            moved, change = words.clone(), torch.from_numpy(rng.integers(-9, 9, 4))
            moved[0, rng.integers(parties)] += change
            apart = protocol.reference(moved).sums - protocol.reference(words).sums
            assert bool((apart.abs() <= heaviest * change.abs()).all()), groups


def test_rounded_shares_give_the_epsilon_of_the_gaussian_mechanism_exactly() -> None:
    """Two shares at the smallest size, one update that moves the sum by 5 units: the exact delta at that epsilon."""
    share_std, delta = 4.0, 1e-5
    multiplier = math.sqrt(2) * share_std / 5
    ledger = Ledger(1)
    ledger.record(np.array([multiplier]))
    epsilon = ledger.epsilon(delta)
    assert isinstance(epsilon, float)
    both = np.convolve(_rounded(share_std), _rounded(share_std))
    assert _delta(both, 5, epsilon) <= delta
    # The bound is not slack: half of the variance is not enough.
    assert _delta(_rounded(share_std), 5, epsilon) > 100 * delta


def _rounded(std: float) -> NDArray[np.float64]:
    """The probabilities of round(G) for G ~ N(0, std^2), out to 20 deviations: what is beyond weighs below 1e-88."""
    edges = np.arange(-int(20 * std), int(20 * std) + 2) - 0.5
    # Both tails from the side on which they do not cancel.
    below, above = np.diff(norm.cdf(edges, scale=std)), -np.diff(norm.sf(edges, scale=std))
    return np.where(edges[:-1] < 0, below, above)


def _delta(probabilities: NDArray[np.float64], shift: int, epsilon: float) -> float:
    """The hockey-stick divergence of noise and shifted noise."""
    nothing = np.zeros(shift)
    here, there = np.concatenate([probabilities, nothing]), np.concatenate([nothing, probabilities])
    return float(np.maximum(here - math.exp(epsilon) * there, 0).sum())


def _opened(engine: Engine, words: Tensor) -> Tensor:
    """Open party 0's first number plus everybody's noise, the second."""
    values = engine.share_inputs(words[:, :1], 1)
    return opened_with_noise(engine.over(BITS), values.view(len(words), 1), words[:, 1:].contiguous(), None) & 3


def _opened_apart(engine: Engine, words: Tensor) -> Tensor:
    """The same, and the noise alone before it."""
    engine.reveal(engine.sum(engine.share_inputs(words[:, 1:].contiguous()), 1))
    return _opened(engine, words)


CASES = [[[x, a], [0, b], [0, c]] for x in range(2) for a in range(2) for b in range(2) for c in range(2)]


def test_nobody_learns_more_than_the_result_with_its_noise_and_its_own_share() -> None:
    """All pads modulo 4 enumerated; what a party may know is its own numbers and what is opened."""
    assert leaking(THREE, WORDS, _opened, CASES, modulus=2) == []


def test_noise_that_opens_apart_is_seen() -> None:
    assert leaking(THREE, WORDS, _opened_apart, CASES, modulus=2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise_std": -1.0}, "noise_std"),
        ({"noise_std": float("nan")}, "noise_std"),
        ({"noise_std": 1e-5}, "noise shares of 0.463 units do not fit; allowed: 4 to"),
        ({"noise_std": 1e13}, "units do not fit"),
        ({"outer": "krum", "group_size": 1, "tolerate": 0}, "means nothing to outer = 'krum'"),
    ],
)
def test_noise_that_does_not_fit_is_refused_before_anything_is_sent(parameters: dict[str, Any], message: str) -> None:
    threads = InProcessParties(6)
    with pytest.raises(CloisterError, match=message):
        threads.open_sums(noisy(**parameters), words_of(6, 1, 1))
    assert not threads.transcripts


def test_what_colluding_delegates_know_of_the_noise_is_not_counted() -> None:
    access = Access(parties=5, threshold=2)
    assert [part_unknown(access, known) for known in range(6)] == pytest.approx(
        [math.sqrt(5 / 3), math.sqrt(4 / 3), 1.0, 0.0, 0.0, 0.0]
    )
    protocol, everybody = Hidden(group_size=2), frozenset(range(6))
    delegates = protocol.seats(parties=6, present=everybody, use=3).delegates
    others = everybody - set(delegates)
    for known, part in ((0, math.sqrt(3 / 2)), (1, 1.0), (2, 0.0)):
        colluding = others | set(delegates[:known])
        found = protocol.protection(parties=6, contributors=everybody, colluding=colluding, use=3)
        assert found == pytest.approx(part)


@pytest.mark.parametrize(("outer", "most"), [("mean", 1), ("median", None), ("trimmed_mean", None)])
def test_a_sum_that_is_brought_to_where_it_wraps_around_moves_the_mean_alone_by_no_more(
    outer: str, most: int | None
) -> None:
    """Why its docstring speaks of all members' norms: of groups at -10, at 10 and at the edge, one unit decides."""
    protocol = made(noisy(outer=outer, group_size=3))
    words = torch.zeros(1, 9, 1, dtype=torch.int64)
    words[0, 1], words[0, 3:6], words[0, 6:9] = 2**63 - 1, -10 << 16, 10 << 16
    before = protocol.reference(words).sums
    words[0, 0] = 1
    moved = int((protocol.reference(words).sums - before).abs())
    assert moved <= most if most is not None else moved > 10 * NOISE / protocol.ring.unit


def test_noise_never_exceeds_its_bound() -> None:
    """8.6 standard deviations a share: see SecretStreams.gaussian."""
    noise = JointNoise(std=100.0, access=THREE)
    assert noise.bound == 3 * (math.ceil(8.6 * 100 / math.sqrt(2)) + 1)
