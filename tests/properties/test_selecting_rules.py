"""The rules that select, weigh or cut cluster means, each against its definition written out slowly in float64."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN, MeanShift, estimate_bandwidth

from bench.peers._byzfl import byzfl
from protocols.aggregators import LIMIT, NOTHING, Aggregator, Bounded, Given, Selecting, aggregators, screen
from protocols.aggregators import dnc as dnc_module
from protocols.aggregators import no_regret as no_regret_module
from protocols.aggregators._filtering import filtered_weights
from protocols.aggregators._mean_shift import bandwidth_of, largest_cluster
from protocols.aggregators._pruning import FAR, near_rows
from protocols.aggregators._spectral import deviations_along_widest, project_capped
from protocols.aggregators._subsets import MOST_SUBSETS
from protocols.aggregators.no_regret import NoRegret
from protocols.aggregators.pre import pre_aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.testing import aggregators as kit

Rows = np.ndarray
Oracle = Callable[[Rows, int, Given], Rows]

# Numbers of about 1 and sums of at most a few hundred of them: rounding stays below 1e-12 in either computation.
CLOSE = 1e-10


def rule_of(name: str, **parameters: float) -> Aggregator:
    return aggregators.make(aggregators.resolve({"name": name, **parameters}))


def median_length(x: Rows) -> float:
    return float(np.median(np.linalg.norm(x, axis=1)))


def cut(x: Rows, length: float) -> Rows:
    return np.array([row * min(1.0, length / np.linalg.norm(row)) if row.any() else row for row in x])


def medoid(x: Rows, f: int, given: Given) -> Rows:
    return x[np.argmin([sum(np.linalg.norm(a - b) for b in x) for a in x])]


def mda(x: Rows, f: int, given: Given) -> Rows:
    def spread(kept: tuple[int, ...]) -> tuple[float, float]:
        pairs = [np.linalg.norm(x[i] - x[j]) for i, j in itertools.combinations(kept, 2)] or [0.0]
        return max(pairs), sum(pair**2 for pair in pairs)

    return x[list(min(itertools.combinations(range(len(x)), len(x) - f), key=spread))].mean(axis=0)


def smea(x: Rows, f: int, given: Given) -> Rows:
    def widest(kept: tuple[int, ...]) -> float:
        own = x[list(kept)]
        return np.linalg.eigvalsh((own - own.mean(axis=0)).T @ (own - own.mean(axis=0)) / len(own))[-1]

    return x[list(min(itertools.combinations(range(len(x)), len(x) - f), key=widest))].mean(axis=0)


def phocas(x: Rows, f: int, given: Given) -> Rows:
    result = []
    for column in x.T:
        trimmed = np.sort(column)[f : len(column) - f].mean()
        result.append(np.mean(sorted(column, key=lambda value: abs(value - trimmed))[: len(column) - f]))
    return np.array(result)


def bulyan(x: Rows, f: int, given: Given) -> Rows:
    remaining, chosen = list(range(len(x))), []
    while len(chosen) < len(x) - 2 * f:

        def score(i: int) -> tuple[float, float]:
            others = sorted(float(((x[i] - x[j]) ** 2).sum()) for j in remaining if j != i)
            return sum(others[: max(1, len(remaining) - f - 2)]), sum(others)

        # The closest two rows have equal scores with one neighbour, which two sums of squares may miss by rounding.
        best = min(remaining, key=lambda i: (round(score(i)[0], 9), score(i)[1]))
        remaining.remove(best)
        chosen.append(best)
    result = []
    for column in x[chosen].T:
        middle = np.median(column)
        result.append(np.mean(sorted(column, key=lambda value: abs(value - middle))[: len(column) - 2 * f]))
    return np.array(result)


def norm_clipped_mean(x: Rows, f: int, given: Given) -> Rows:
    return cut(x, 1.0).mean(axis=0)


def sign_majority(x: Rows, f: int, given: Given) -> Rows:
    return 0.01 * np.array([np.sign((column > 0).sum() - (column < 0).sum()) for column in x.T])


def cge(x: Rows, f: int, given: Given) -> Rows:
    return np.array(sorted(x, key=np.linalg.norm)[: len(x) - f]).mean(axis=0)


def monna(x: Rows, f: int, given: Given) -> Rows:
    own = given.reference.numpy()
    everybody = [own, *x]
    return np.mean(sorted(everybody, key=lambda row: np.linalg.norm(row - own))[: len(everybody) - f], axis=0)


def fltrust(x: Rows, f: int, given: Given) -> Rows:
    root = given.reference.numpy()
    length = np.linalg.norm(root)
    trust = [max(0.0, row @ root / np.linalg.norm(row) / length) for row in x]
    scaled = [row * length / np.linalg.norm(row) for row in x]
    return (
        sum(t * row for t, row in zip(trust, scaled, strict=True)) / sum(trust) if sum(trust) else np.zeros(len(root))
    )


def foolsgold(x: Rows, f: int, given: Given) -> Rows:
    past = given.history.numpy() + x
    m = len(x)
    alike = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in past] for a in past])
    largest = [max((alike[i, j] for j in range(m) if j != i), default=-math.inf) for i in range(m)]
    for i, j in itertools.permutations(range(m), 2):
        if largest[j] > max(largest[i], 0.0):
            alike[i, j] *= largest[i] / largest[j]
    rates = [1 - max((alike[i, j] for j in range(m) if j != i), default=-math.inf) for i in range(m)]
    rates = [min(1.0, max(0.0, rate)) for rate in rates]
    rates = [rate / max(rates) if max(rates) else 0.0 for rate in rates]
    rates = [0.99 if rate == 1 else rate for rate in rates]
    rates = [min(1.0, max(0.0, math.log(rate / (1 - rate)) + 0.5)) if rate else 0.0 for rate in rates]
    return sum(rate * row for rate, row in zip(rates, x, strict=True)) / sum(rates) if sum(rates) else 0 * x[0]


def zeno(x: Rows, f: int, given: Given) -> Rows:
    here = float(given.loss(torch.zeros(1, x.shape[1], dtype=torch.float64))[0])
    scores = [here - float(given.loss(torch.tensor(row)[None])[0]) - 0.05 * row @ row for row in x]
    return x[np.argsort(scores)[f:]].mean(axis=0)


def dnc(x: Rows, f: int, given: Given) -> Rows:
    _, _, directions = np.linalg.svd(x - x.mean(axis=0))
    scores = ((x - x.mean(axis=0)) @ directions[0]) ** 2
    return x[np.argsort(scores)[: len(x) - f]].mean(axis=0)


def filterl2(x: Rows, f: int, given: Given) -> Rows:
    weights, found = np.ones(len(x)), []
    while f and weights.sum() >= len(x) - 2 * f:
        centre = np.average(x, axis=0, weights=weights)
        values, vectors = np.linalg.eigh(np.cov(x.T, aweights=weights, ddof=0).reshape(x.shape[1], -1))
        found.append((values[-1], centre))
        deviations = ((x - centre) @ vectors[:, -1]) ** 2 * (weights > 0)
        if deviations.max() < 1e-12:
            break
        weights = weights * (1 - deviations / deviations.max())
    return min(found, key=lambda pair: pair[0])[1] if found else x.mean(axis=0)


def no_regret(x: Rows, f: int, given: Given) -> Rows:
    shares, found, best = np.full(len(x), 1 / len(x)), x.mean(axis=0), math.inf
    for _ in range(20 if f else 0):
        centre = shares @ x
        values, vectors = np.linalg.eigh(((x - centre).T * shares) @ (x - centre))
        if values[-1] < 0.999 * best:
            best, found = values[-1], centre
        deviations = ((x - centre) @ vectors[:, -1]) ** 2
        shares = capped(shares * (1 - deviations / 2 / deviations.max()), 1 / (len(x) - f))
    return found


def capped(weights: Rows, cap: float) -> Rows:
    """The t with sum of min(cap, t w) = 1, by bisection."""
    low, high = 0.0, 1e6
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if np.minimum(cap, t * weights).sum() < 1 else (low, t)
    return np.minimum(cap, high * weights)


def signguard(x: Rows, f: int, given: Given) -> Rows:
    lengths, length = np.linalg.norm(x, axis=1), median_length(x)
    drawn = public_stream(0, "conformance", "rule").choice(x.shape[1], math.ceil(0.1 * x.shape[1]), replace=False)
    signs = np.sign(x[:, drawn])
    described = np.stack([(signs == sign).mean(axis=1) for sign in (1, 0, -1)], axis=1)
    bandwidth = estimate_bandwidth(described, quantile=0.5)
    labels = (
        np.zeros(len(x)) if bandwidth == 0 else MeanShift(bandwidth=bandwidth, cluster_all=False).fit(described).labels_
    )
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    usual = (lengths >= 0.1 * length) & (lengths <= 3 * length)
    both = usual & (labels == names[counts.argmax()])
    return cut(x[both if both.any() else usual], length).mean(axis=0)


def flame(x: Rows, f: int, given: Given) -> Rows:
    ways = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = np.clip(1 - ways @ ways.T, 0, None)
    np.fill_diagonal(distances, 0)
    found = HDBSCAN(
        metric="precomputed", min_cluster_size=len(x) // 2 + 1, min_samples=1, allow_single_cluster=True, copy=True
    ).fit((distances + distances.T) / 2)
    kept = x[found.labels_ >= 0] if (found.labels_ >= 0).any() else x
    return cut(kept, median_length(x)).mean(axis=0)


def lasa(x: Rows, f: int, given: Given) -> Rows:
    clipped, d = cut(x, median_length(x)), x.shape[1]
    sparse = clipped.copy()
    for row in sparse:
        row[np.argsort(abs(row))[: int(0.3 * d)]] = 0.0
    ends = np.cumsum(given.layers or (d,))
    result = []
    for own, seen in zip(np.split(clipped, ends[:-1], axis=1), np.split(sparse, ends[:-1], axis=1), strict=True):
        lengths = [float(np.linalg.norm(row)) for row in seen]
        balances = [np.sign(row).sum() / np.count_nonzero(row) if row.any() else 0.0 for row in seen]
        passed = set(range(len(x)))
        for values in (lengths, balances):
            # Rounding is far below 1e-12 here, and distances of exactly one deviation do not pass.
            far = max(1e-12, np.std(values) - 1e-12)
            passed &= {i for i in passed if abs(values[i] - np.median(values)) < far}
        result.append(own[sorted(passed) if passed else range(len(x))].mean(axis=0))
    return np.concatenate(result)


ORACLES: dict[str, Oracle] = {
    rule.__name__: rule
    for rule in (
        *(medoid, mda, smea, phocas, bulyan, norm_clipped_mean, sign_majority, cge, monna, fltrust, foolsgold, zeno),
        *(dnc, filterl2, no_regret, signguard, flame, lasa),
    )
}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_a_rule_is_its_definition_written_out(name: str) -> None:
    """On random rows, some drawn far from the others but not so far that they would be pruned, and for every F."""
    rule = rule_of(name)
    tried = 0
    for m, d in ((3, 2), (5, 3), (7, 20), (9, 4), (11, 6)):
        for tolerate in range(rule.breakdown(m) + 1):
            rng = public_stream(tolerate, "oracle", m, d)
            x = rng.normal(size=(m, d))
            x[:tolerate] += rng.normal(size=d)
            means = torch.from_numpy(x)
            assert bool(near_rows(means, tolerate).all())
            facts = kit.make_given(means, history=torch.from_numpy(rng.normal(size=(m, d))))
            found = rule(means, torch.full((m,), 2), tolerate, facts).numpy()
            expected = ORACLES[name](x, tolerate, facts)
            assert np.abs(found - expected).max() <= CLOSE, f"{name} for F = {tolerate} of {m}: {found}, not {expected}"
            tried += 1
    assert tried >= 5


SELECTING = sorted(name for name in ORACLES if isinstance(rule_of(name), Selecting))


@pytest.mark.parametrize("name", SELECTING)
def test_what_is_excluded_has_no_part_in_the_result(name: str) -> None:
    """Moving the excluded rows a little changes nothing; moving the others does."""
    rule = rule_of(name)
    assert isinstance(rule, Selecting)
    means, sizes = kit.make_points(11, 6)
    means[:2] += 4.0
    facts = kit.make_given(means[2:], history=means)
    tolerate = rule.breakdown(11)
    excluded = rule.excluded(means, sizes, tolerate, facts)
    assert bool(excluded.any())
    moved = means.clone()
    moved[excluded] *= 1.0 + 1e-9
    assert torch.equal(rule.excluded(moved, sizes, tolerate, facts), excluded)
    before, after = (rule(rows, sizes, tolerate, facts) for rows in (means, moved))
    # A median length, or a filter's direction, may follow the excluded rows by as much as they moved.
    assert float((before - after).abs().max()) <= 1e-7
    influential = means.clone()
    influential[~excluded, 0] += 0.1
    assert not torch.allclose(rule(influential, sizes, tolerate, facts), before)


@pytest.mark.parametrize("name", ["mda", "smea"])
def test_more_subsets_than_can_be_tried_are_refused_in_one_line(name: str) -> None:
    rule = rule_of(name)
    assert isinstance(rule, Bounded)
    assert rule.unfit(20, 7) is None
    assert math.comb(20, 7) <= MOST_SUBSETS < math.comb(30, 10)
    assert str(math.comb(30, 10)) in str(rule.unfit(30, 10))
    means, sizes = kit.make_points(30, 2)
    with pytest.raises(
        CloisterError, match=r"^tolerate = 10 means 30045015 ways to leave 10 of 30 clusters out; allowed"
    ):
        rule(means, sizes, 10)


def test_smea_stops_early_only_where_no_later_subset_can_be_better() -> None:
    """One wide direction and many narrow ones: the subset with the least total variance is not the best one."""
    found = 0
    for seed in range(40):
        rng = public_stream(seed, "smea")
        x = rng.normal(size=(7, 4)) * rng.choice([0.3, 1.0, 3.0], size=(7, 1))
        result = rule_of("smea")(torch.from_numpy(x), torch.ones(7, dtype=torch.int64), 2).numpy()
        assert np.abs(result - smea(x, 2, Given())).max() <= CLOSE
        least = min(itertools.combinations(range(7), 5), key=lambda kept: x[list(kept)].var(axis=0).sum())
        found += bool(np.abs(x[list(least)].mean(axis=0) - result).max() > CLOSE)
    assert found, "the first subset was always the best: the search was not tried"


@pytest.fixture(scope="module")
def peer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torchvision and others say as they are imported is theirs
        try:
            return byzfl()
        except CloisterError as error:
            pytest.skip(str(error))


class TestAgreementWithByzfl:
    """The rules that byzfl defines too, on random rows: float64 in both, so that only rounding differs."""

    @staticmethod
    def cases() -> Iterator[tuple[np.ndarray, int]]:
        for m, d, f in ((5, 3, 1), (8, 4, 3), (9, 2, 2), (10, 5, 4)):
            yield public_stream(0, "byzfl", m, d).normal(size=(m, d)), f

    def test_mda(self, peer: Any) -> None:
        """byzfl takes the first of the subsets of smallest diameter, ours that with the least sum of squares.

        So byzfl's is one of the best subsets' means, and ours as well.
        """
        same = 0
        for x, f in self.cases():
            ours = rule_of("mda")(torch.from_numpy(x), torch.ones(len(x), dtype=torch.int64), f).numpy()
            theirs = peer.MDA(f)(x.copy())

            def diameter(kept: tuple[int, ...], rows: np.ndarray = x) -> float:
                return max(float(np.linalg.norm(rows[i] - rows[j])) for i, j in itertools.combinations(kept, 2))

            every = list(itertools.combinations(range(len(x)), len(x) - f))
            least = min(map(diameter, every))
            best = [x[list(kept)].mean(axis=0) for kept in every if diameter(kept) <= least * (1 + 1e-12)]
            assert min(np.abs(mean - theirs).max() for mean in best) <= CLOSE
            assert min(np.abs(mean - ours).max() for mean in best) <= CLOSE
            same += np.abs(ours - theirs).max() <= CLOSE
        assert same

    def test_smea(self, peer: Any) -> None:
        """byzfl's largest eigenvalue is one power step from a random vector; for one coordinate it is exact."""
        for x, f in self.cases():
            ours = rule_of("smea")(torch.from_numpy(x[:, :1]), torch.ones(len(x), dtype=torch.int64), f).numpy()
            assert np.abs(ours - peer.SMEA(f)(x[:, :1].copy())).max() <= CLOSE

    def test_monna(self, peer: Any) -> None:
        """Where the server is one more node, its root update the last row and the one that asks."""
        for x, f in self.cases():
            root = x.mean(axis=0)
            facts = Given(reference=torch.from_numpy(root))
            ours = rule_of("monna")(torch.from_numpy(x), torch.ones(len(x), dtype=torch.int64), f, facts).numpy()
            theirs = peer.MoNNA(f, idx=len(x))(np.concatenate([x, root[None]]))
            assert np.abs(ours - theirs).max() <= CLOSE

    @pytest.mark.parametrize("name", ["arc", "clip"])
    def test_before_a_rule(self, peer: Any, name: str) -> None:
        pre = pre_aggregators.make(pre_aggregators.resolve(name))
        for x, f in self.cases():
            theirs = (peer.ARC(f) if name == "arc" else peer.Clipping(1.0))(x.copy())
            ours = pre(torch.from_numpy(x), torch.ones(len(x), dtype=torch.int64), f)[0].numpy()
            assert np.abs(ours - theirs).max() <= CLOSE


def under_attack(m: int, d: int, tolerate: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all rows and the honest ones: the tainted ones far, near, against the others, or each elsewhere."""
    means, _ = kit.make_points(m, d)
    honest = means[tolerate:] + 0.5
    centre, spread = honest.mean(dim=0), honest.std(dim=0, correction=0)
    rng = public_stream(0, "under attack", m, d)
    for tainted in (
        *(factor * centre.expand(tolerate, -1) for factor in (-1e30, -3.0, -1.0, 0.0, 10.0)),
        *((centre + z * spread).expand(tolerate, -1) for z in (-1.5, 0.5, 4.0)),
        torch.from_numpy(rng.normal(size=(tolerate, d)) * 10.0 ** rng.integers(-3, 20, size=(tolerate, 1))),
    ):
        yield torch.cat([tainted, honest]), honest


class TestGuarantees:
    """What the docstrings promise, with `tolerate` rows of an attacker's choice."""

    CASES = ((5, 3), (8, 4), (11, 2))
    SLACK = 1 + 1e-12  # of at most a few hundred roundings

    def results(self, name: str) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, Given, int]]:
        rule = rule_of(name)
        for m, d in self.CASES:
            for tolerate in range(rule.breakdown(m) + 1):
                for rows, honest in under_attack(m, d, tolerate):
                    facts = kit.make_given(honest, history=rows)
                    yield rule(rows, torch.full((m,), 2), tolerate, facts), rows, honest, facts, tolerate

    def test_the_length_of_the_result(self) -> None:
        for result, *_ in self.results("norm_clipped_mean"):
            assert float(result.norm()) <= 1.0 * self.SLACK
        for name in ("flame", "signguard"):
            for result, rows, *_ in self.results(name):
                assert float(result.norm()) <= median_length(rows.numpy()) * self.SLACK
        for number, dtype in itertools.product((1e30, -1e30, 1e-40, 0.0, LIMIT), (torch.float64, torch.float32)):
            if number < torch.finfo(dtype).max:
                self.check_lasa(number, dtype)
        for result, _, honest, *_ in self.results("lasa"):
            assert float(result.norm()) <= float(honest.norm(dim=1).max()) * self.SLACK
        for result, _, honest, *_ in self.results("cge"):
            assert float(result.norm()) <= float(honest.norm(dim=1).max()) * self.SLACK
        for result, _, _, facts, _ in self.results("fltrust"):
            assert facts.reference is not None
            assert float(result.norm()) <= float(facts.reference.norm()) * self.SLACK

    def check_lasa(self, number: float, dtype: torch.dtype) -> None:
        """Finite rows of any size pass the screening, as the rule is told of no tainted ones."""
        for m, d in self.CASES:
            rows, sizes = kit.make_points(m, d)
            rows[: (m - 1) // 2] = number
            rows = rows.to(dtype)
            for layers in ((d,), (1, d - 1)):
                result = rule_of("lasa")(rows, sizes, 0, Given(layers=layers)).double()
                length = median_length(rows.double().numpy())
                # The result is rounded to its type: each number, and so the length, by 2^-24 of itself at most.
                slack = self.SLACK if dtype == torch.float64 else 1 + 2.0**-24
                assert all(float(part.norm()) <= length * slack for part in result.split(layers))

    def test_monna_stays_as_near_to_the_root_update_as_the_honest_means(self) -> None:
        for result, _, honest, facts, _ in self.results("monna"):
            assert facts.reference is not None
            farthest = (honest - facts.reference).norm(dim=1).max()
            assert float((result - facts.reference).norm()) <= float(farthest) * self.SLACK

    def test_a_sign_that_the_honest_agree_on_stays(self) -> None:
        for result, _, honest, *_ in self.results("sign_majority"):
            assert float(result.abs().max()) <= 0.01
            agreed = (honest.sign() == honest[0].sign()).all(dim=0)
            assert torch.equal(result[agreed], 0.01 * honest[0, agreed].sign())

    def test_phocas_and_bulyan_stay_as_near_to_their_middle_as_the_honest_values(self) -> None:
        for result, rows, honest, _, tolerate in self.results("phocas"):
            trimmed = rows.sort(dim=0).values[tolerate : len(rows) - tolerate].mean(dim=0)
            farthest = (honest - trimmed).abs().amax(dim=0)
            assert bool(((result - trimmed).abs() <= farthest * self.SLACK + CLOSE).all())
        bulyan_rule = rule_of("bulyan")
        assert isinstance(bulyan_rule, Selecting)
        for result, rows, honest, _, tolerate in self.results("bulyan"):
            chosen = ~bulyan_rule.excluded(rows, torch.full((len(rows),), 2), tolerate)
            assert int(chosen.sum()) == len(rows) - 2 * tolerate
            median = torch.from_numpy(np.median(rows[chosen].numpy(), axis=0))
            assert bool((median >= honest.amin(dim=0)).all() and (median <= honest.amax(dim=0)).all())
            assert bool(((result - median).abs() <= (honest - median).abs().amax(dim=0) * self.SLACK + CLOSE).all())

    def test_no_cluster_counts_for_more_than_its_cap_and_filters_take_no_more_than_they_say(self) -> None:
        for m, d in self.CASES:
            for tolerate in range((m + 1) // 2):
                for rows, _ in under_attack(m, d, tolerate):
                    shares = NoRegret()._shares(rows, tolerate)
                    assert float(shares.max()) <= 1 / (m - tolerate) * self.SLACK
                    assert abs(float(shares.sum()) - 1.0) <= CLOSE
                    (points,) = screen(rule_of("filterl2"), rows, torch.ones(m, dtype=torch.int64), tolerate)
                    assert float(filtered_weights(points).sum()) >= m - 2 * tolerate

    def test_what_zeno_leaves_out_scores_no_higher_than_what_counts(self) -> None:
        rule = rule_of("zeno")
        assert isinstance(rule, Selecting)
        for _, rows, _, facts, tolerate in self.results("zeno"):
            assert facts.loss is not None
            scores = -facts.loss(rows) - 0.05 * rows.square().sum(dim=1)
            excluded = rule.excluded(rows, torch.full((len(rows),), 2), tolerate, facts)
            assert not bool(excluded.any()) or float(scores[excluded].max()) <= float(scores[~excluded].min())


class TestTheSharedParts:
    def test_pruning_takes_the_farthest_rows_and_never_more_than_it_may(self) -> None:
        rows, _ = kit.make_points(9, 3)
        rows[:4] += torch.tensor([1e2, 1e4, 1e8, 1e30])[:, None]
        assert near_rows(rows, 4).tolist() == [False] * 4 + [True] * 5
        assert near_rows(rows, 2).tolist() == [True, True, False, False] + [True] * 5
        assert bool(near_rows(rows, 0).all())

    def test_pruning_keeps_a_row_at_the_limit(self) -> None:
        line = torch.tensor([0.0, 1.0, -1.0, 1.0, -1.0, FAR, -FAR - 1e-9], dtype=torch.float64)[:, None]
        assert near_rows(line, 3).tolist() == [True] * 6 + [False]

    @given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=12), st.data())
    def test_the_projection_is_the_capped_multiple_of_the_weights(
        self, values: list[float], data: st.DataObject
    ) -> None:
        honest = data.draw(st.integers(1, len(values)))
        weights = torch.tensor(values, dtype=torch.float64)
        shares = project_capped(weights, 1.0 / honest).numpy()
        assert abs(shares.sum() - 1.0) <= 1e-12
        # Bisection ends within 1e6 / 2^200 of t; float64 sums are off by 12 roundings.
        assert np.abs(shares - capped(np.array(values), 1.0 / honest)).max() <= 1e-11

    def test_the_widest_direction_is_that_of_the_covariance(self) -> None:
        rng = public_stream(0, "spectral")
        x, weights = rng.normal(size=(8, 5)) + 3.0, rng.random(8)
        weights[2] = 0.0
        values, vectors = np.linalg.eigh(np.cov(x.T, aweights=weights, ddof=0))
        widest, deviations = deviations_along_widest(torch.from_numpy(x @ x.T), torch.from_numpy(weights))
        assert abs(widest - values[-1]) <= CLOSE
        centred = x - np.average(x, axis=0, weights=weights)
        assert np.abs(deviations.numpy() - (centred @ vectors[:, -1]) ** 2).max() <= CLOSE

    @pytest.mark.parametrize("seed", range(10))
    def test_mean_shift_is_scikit_learns(self, seed: int) -> None:
        rng = public_stream(seed, "mean shift")
        points = np.concatenate([rng.normal(size=(12, 3)), rng.normal(size=(8, 3)) + 3.0])
        bandwidth = estimate_bandwidth(points, quantile=0.5)
        assert abs(bandwidth - bandwidth_of(torch.from_numpy(points), 0.5)) <= CLOSE
        for width in (bandwidth, 0.5 * bandwidth):
            labels = MeanShift(bandwidth=width, cluster_all=False).fit(points).labels_
            counts = np.bincount(labels[labels >= 0])
            found = largest_cluster(torch.from_numpy(points), width).numpy()
            assert any((found == (labels == name)).all() for name in np.flatnonzero(counts == counts.max()))


class TestOneByOne:
    def test_dnc_looks_at_the_drawn_coordinates_only(self) -> None:
        """The attack is in one coordinate of 50; with 5 drawn it is found exactly where that one is among them."""
        means, sizes = kit.make_points(8, 50)
        means[0, 7] += 9.0  # not so far that pruning would take it
        found = 0
        for seed in range(40):
            rule = rule_of("dnc", coordinates=5)
            facts = Given(rng=public_stream(seed, "dnc"))
            assert isinstance(rule, Selecting)
            seen = 7 in public_stream(seed, "dnc").choice(50, size=5, replace=False)
            gone = bool(rule.excluded(means, sizes, 1, facts)[0])
            assert gone or not seen
            found += seen
        assert 0 < found < 20

    def test_dnc_keeps_what_every_iteration_keeps(self) -> None:
        means, sizes = kit.make_points(9, 6)
        once, often = (rule_of("dnc", iterations=n, coordinates=2) for n in (1, 3))
        assert isinstance(once, Selecting)
        assert isinstance(often, Selecting)
        rng = public_stream(0, "iterations")
        first = once.excluded(means, sizes, 2, Given(rng=rng))
        every = often.excluded(means, sizes, 2, Given(rng=rng))
        assert bool((every | ~first).all())
        assert 2 <= int(every.sum()) <= 6

    def test_dnc_draws_no_coordinate_twice_in_an_iteration_and_no_more_than_it_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Spy:
            """Notes what is asked of the stream, and what it gives."""

            def __init__(self, rng: np.random.Generator) -> None:
                self.rng, self.drawn = rng, list[np.ndarray]()

            def choice(self, *given: Any, **how: Any) -> np.ndarray:
                self.drawn.append(self.rng.choice(*given, **how))
                return self.drawn[-1]

        original, spies = dnc_module.stream_of, list[Spy]()
        monkeypatch.setattr(dnc_module, "stream_of", lambda given: spies.append(Spy(original(given))) or spies[-1])
        means, sizes = kit.make_points(9, 20)
        for coordinates in (1, 5, 20, 99):
            spies.clear()
            for _ in range(2):
                facts = Given(rng=public_stream(3, "dnc"))
                rule_of("dnc", coordinates=coordinates, iterations=4)(means, sizes, 2, facts)
            one, other = ([each.tolist() for each in spy.drawn] for spy in spies)
            assert [len(set(each)) for each in one] == [len(each) for each in one] == [min(coordinates, 20)] * 4
            assert one == other, "the same stream gives other coordinates"

    def test_no_regret_takes_at_most_so_many_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken: list[int] = []
        monkeypatch.setattr(
            no_regret_module, "project_capped", lambda *given: taken.append(1) or project_capped(*given)
        )
        means, sizes = kit.make_points(9, 4)
        means[:3] += 3.0
        for iterations in (1, 2, 7):
            taken.clear()
            rule_of("no_regret", iterations=iterations)(means, sizes, 3, NOTHING)
            assert len(taken) == iterations

    def test_of_equal_scores_krum_takes_the_lowest_number(self) -> None:
        """Corners of a square, and copies of them: all scores are alike."""
        corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
        for turn in range(4):
            rows = corners.roll(turn, dims=0).repeat(2, 1)
            assert torch.equal(rule_of("krum")(rows, torch.ones(8, dtype=torch.int64), 0), rows[0])

    def test_of_copies_of_a_mean_the_medoid_is_that_with_the_lowest_number(self) -> None:
        rule, ones = rule_of("medoid"), torch.ones(12, dtype=torch.int64)
        assert isinstance(rule, Selecting)
        for seed in range(20):
            means = kit.make_points(4, 3, seed=seed)[0].repeat(3, 1)[public_stream(seed, "copies").permutation(12)]
            kept = int((~rule.excluded(means, ones, 0)).nonzero())
            assert torch.equal(rule(means, ones, 0), means[kept])
            assert kept == int((means == means[kept]).all(dim=1).nonzero()[0])

    def test_dnc_refuses_to_put_away_fewer_than_it_tolerates(self) -> None:
        with pytest.raises(CloisterError, match=r"share = 0\.5 is not allowed; allowed: at least 1"):
            rule_of("dnc", share=0.5)

    def test_bulyan_takes_the_nearest_values_where_some_are_equal(self) -> None:
        """Krum selects all but the last two; nearest to the median 0 are 0, 1 and one -3, not both before the 1."""
        means = torch.tensor([[-3.0], [-3.0], [0.0], [1.0], [5.0], [1000.0], [-1000.0]], dtype=torch.float64)
        found = rule_of("bulyan")(means, torch.full((7,), 2), 1, NOTHING)
        assert math.isclose(float(found), -2 / 3, abs_tol=1e-12)

    @pytest.mark.parametrize("name", ["dnc", "filterl2", "no_regret"])
    def test_two_huge_rows_at_a_right_angle_are_both_seen(self, name: str) -> None:
        means, sizes = kit.make_points(9, 3)
        means[0, 0], means[1, 1] = 1e30, 1e5
        rule = rule_of(name)
        assert isinstance(rule, Selecting)
        assert rule.excluded(means, sizes, 2, kit.make_given(means))[:2].tolist() == [True, True]

    def test_filterl2_takes_no_more_weight_than_it_says(self) -> None:
        """Where nobody is tainted, an honest row keeps a part of its say."""
        means, sizes = kit.make_points(10, 4)
        rule = rule_of("filterl2")
        assert isinstance(rule, Selecting)
        for tolerate in range(1, 5):
            assert int(rule.excluded(means, sizes, tolerate).sum()) <= 2 * tolerate

    def test_flame_adds_noise_in_proportion_to_the_median_length(self) -> None:
        means, sizes = kit.make_points(7, 4000)
        plain, noisy = (rule_of("flame", noise=noise)(means, sizes, 2, kit.make_given(means)) for noise in (0.0, 0.01))
        length = float(np.median(np.linalg.norm(means.numpy(), axis=1)))
        noise = (noisy - plain) / (0.01 * length)
        # The mean square of 4,000 standard normal numbers is within 6 sqrt(2 / 4000) of 1 but for 2e-9 of the seeds.
        assert abs(float(noise.square().mean()) - 1.0) <= 6 * math.sqrt(2 / 4000)

    def test_flame_puts_away_the_minority_that_points_another_way(self) -> None:
        rng = public_stream(0, "flame")
        means = torch.from_numpy(rng.normal(size=(9, 50)) * 0.1 + 1.0)
        means[:3] *= -1
        rule = rule_of("flame")
        assert isinstance(rule, Selecting)
        excluded = rule.excluded(means, torch.full((9,), 2), 3, kit.make_given(means))
        assert bool(excluded[:3].all())
        assert int(excluded.sum()) < 5

    def test_foolsgold_silences_clusters_that_have_long_agreed(self) -> None:
        means, sizes = kit.make_points(6, 40)
        history = 10 * means.clone()
        history[0] = history[1] = 10 * torch.ones(40)
        means[0] = means[1] = torch.ones(40)
        result = rule_of("foolsgold")(means, sizes, 0, Given(history=history))
        others = rule_of("foolsgold")(means[2:], sizes[2:], 0, Given(history=history[2:]))
        assert float((result - others).abs().max()) <= 0.2
        assert float(result.mean()) < 0.3  # with all weights alike, the two would pull the mean to a third and more

    def test_foolsgold_lets_what_those_send_who_have_long_agreed_have_no_part(self) -> None:
        results = []
        for length in (0.0, 1.0, 1e6):
            means, sizes = kit.make_points(6, 40)
            history = 10 * means.clone()
            history[:2] = 10 * torch.ones(40)
            means[:2] = length * torch.ones(40)
            results.append(rule_of("foolsgold")(means, sizes, 0, Given(history=history)))
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])
        assert bool(results[0].any())

    def test_foolsgold_excludes_those_of_weight_zero_and_nobody_where_nobody_differs(self) -> None:
        means, sizes = kit.make_points(6, 40)
        means[0] = means[1] = torch.ones(40)
        rule = rule_of("foolsgold")
        assert isinstance(rule, Selecting)
        apart = Given(history=0 * means)
        excluded = rule.excluded(means, sizes, 0, apart)
        assert excluded[:2].all()
        assert not excluded.all()
        # A lone attacker, however long, is none of them.
        means[1] = -1e6 * torch.arange(40)
        assert not rule.excluded(means, sizes, 0, apart)[1]
        alike = torch.ones_like(means)
        assert not rule.excluded(alike, sizes, 0, apart).any()
        assert not rule(alike, sizes, 0, apart).any()

    def test_foolsgold_excludes_rows_that_are_no_numbers_however_many_there_are(self) -> None:
        """As in its result, which it takes them out of although it tolerates nobody."""
        means, sizes = kit.make_points(6, 40)
        means[2], means[4, 7] = torch.nan, -torch.inf
        rule, given = rule_of("foolsgold"), Given(history=torch.zeros_like(means))
        assert isinstance(rule, Selecting)
        assert rule.excluded(means, sizes, 0, given)[[2, 4]].all()
        assert not rule.excluded(means, sizes, 0, given).all()
        assert rule(means, sizes, 0, given).isfinite().all()

    def test_foolsgold_lets_a_lone_attacker_pass_and_says_so(self) -> None:
        means, sizes = kit.make_points(6, 40)
        means[0] *= 1e6
        assert rule_of("foolsgold").breakdown(6) == 0
        assert float(rule_of("foolsgold")(means, sizes, 0, Given(history=0 * means)).norm()) > 1e4

    def test_foolsgold_goes_on_without_rows_that_cannot_be_computed_with(self) -> None:
        means, sizes = kit.make_points(6, 40)
        rule = rule_of("foolsgold")
        poisoned = means.clone()
        poisoned[0, 3], poisoned[4, 0] = math.nan, math.inf
        kept = [1, 2, 3, 5]
        left = rule(means[kept], sizes[kept], 0, Given(history=means[kept]))
        assert torch.equal(rule(poisoned, sizes, 0, Given(history=means)), left)
        with pytest.raises(CloisterError, match="not finite"):
            rule(means * math.nan, sizes, 0, Given(history=means))

    def test_fltrust_trusts_nobody_who_points_away(self) -> None:
        means, sizes = kit.make_points(5, 3)
        root = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        away = means.clone()
        away[:, 0] = -means[:, 0].abs()
        assert rule_of("fltrust")(away, sizes, 0, Given(reference=root)).tolist() == [0.0, 0.0, 0.0]
        assert rule_of("fltrust")(means, sizes, 0, Given(reference=0 * root)).tolist() == [0.0, 0.0, 0.0]

    def test_lasa_selects_in_each_layer_anew(self) -> None:
        """The oracle agrees with each division of the coordinates, and no two divisions give the same."""
        found: list[torch.Tensor] = []
        for layers in (None, (12,), (5, 7), (7, 5), (1, 3, 8)):
            for seed in range(4):
                means, sizes = kit.make_points(9, 12, seed=seed)
                facts = Given(layers=layers)
                result = rule_of("lasa")(means, sizes, 0, facts)
                assert np.abs(result.numpy() - lasa(means.numpy(), 0, facts)).max() <= CLOSE, (layers, seed)
            found.append(result)
        assert torch.equal(found[0], found[1])
        assert min(float((a - b).abs().max()) for a, b in itertools.combinations(found[1:], 2)) > 1e-3

    def test_lasa_puts_a_row_away_only_in_the_layer_where_it_is_odd(self) -> None:
        """One row has one sign in the first layer; taken for one layer, its signs are less odd, and it passes."""
        x = public_stream(0, "lasa").normal(size=(9, 40))
        x[0, :20] = abs(x[0, :20])
        clipped, sizes = cut(x, median_length(x)), torch.full((9,), 2)
        rule = rule_of("lasa", sparsity=0.0, norm_radius=9.0, sign_radius=2.5)
        layered, whole = (
            rule(torch.from_numpy(x), sizes, 0, Given(layers=layers)).numpy() for layers in ((20, 20), None)
        )
        assert np.abs(layered[:20] - clipped[1:, :20].mean(axis=0)).max() <= CLOSE
        assert np.abs(layered[20:] - clipped[:, 20:].mean(axis=0)).max() <= CLOSE
        assert np.abs(whole - clipped.mean(axis=0)).max() <= CLOSE

    def test_lasa_drops_ties_of_exactly_one_deviation_whatever_the_rounding(self) -> None:
        """Two and two rows: all lie one deviation from the median, so none passes and all count, at every scale."""
        rows = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, 3.1], [1.1, 2.0, 2.9], [-1.1, -2.0, 3.0]]).double()
        for scale in (1.0, 1e-9, 0.1, 1 / 3, 1e9):
            result = rule_of("lasa", sparsity=0.0)(scale * rows, torch.ones(4, dtype=torch.int64), 0)
            expected = cut(rows.numpy(), median_length(rows.numpy())).mean(axis=0)
            assert np.abs(result.numpy() / scale - expected).max() <= CLOSE

    @pytest.mark.parametrize("layers", [(), (4,), (3, 1), (-1, 4), (0, 3)])
    def test_layers_that_do_not_fit_are_refused(self, layers: tuple[int, ...]) -> None:
        means, sizes = kit.make_points(5, 3)
        with pytest.raises(CloisterError, match=r"given\.layers = .* is not allowed; allowed: .* add up to 3"):
            rule_of("lasa")(means, sizes, 0, Given(layers=layers))

    @pytest.mark.parametrize("sparsity", [-0.1, 1.0, math.nan])
    def test_lasa_keeps_some_coordinates(self, sparsity: float) -> None:
        with pytest.raises(CloisterError, match="sparsity = "):
            rule_of("lasa", sparsity=sparsity)

    @pytest.mark.parametrize("bad", [torch.zeros(4), torch.full((3,), math.nan)])
    def test_a_reference_that_does_not_fit_is_refused(self, bad: torch.Tensor) -> None:
        means, sizes = kit.make_points(5, 3)
        with pytest.raises(CloisterError, match=r"given\.reference of shape"):
            rule_of("fltrust")(means, sizes, 0, Given(reference=bad))

    def test_zeno_counts_a_loss_that_is_no_number_as_the_worst(self) -> None:
        means, sizes = kit.make_points(5, 3)
        rule = rule_of("zeno")
        assert isinstance(rule, Selecting)
        facts = Given(loss=lambda rows: torch.where(torch.arange(len(rows)) == 2, math.nan, 0.0))
        assert rule.excluded(means, sizes, 1, facts).tolist() == [False, False, True, False, False]
