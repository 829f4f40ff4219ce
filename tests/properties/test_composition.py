"""Pre-aggregators against their definitions, and rules after them."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregators import Aggregator, Given, Selecting, aggregators, needs_of, within_coefficient
from protocols.aggregators.pre import PreAggregator, pre_aggregators
from protocols.aggregators.pre.bucketing import Bucketing
from protocols.check import CloisterError
from protocols.composition import Composed, SelectingComposed, composed
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import aggregators as kit
from protocols.testing import check_documented, examples_of
from protocols.testing.elsewhere import back, elsewhere, moved
from protocols.types import balanced_sizes

CLOSE = 1e-12  # numbers of about 1, and sums of a few of them
EXAMPLES = examples_of(pre_aggregators)
NAMES = sorted(pre_aggregators.entries())


def pre_of(name: str, **parameters: float) -> PreAggregator:
    return pre_aggregators.make(pre_aggregators.resolve({"name": name, **parameters}))


def rule_of(name: str) -> Aggregator:
    return aggregators.make(aggregators.resolve(name))


def facts(seed: int = 0) -> Given:
    return Given(rng=public_stream(seed, "composition"))


@pytest.mark.parametrize("spec", EXAMPLES, ids=str)
class TestConformance:
    def test_it_is_documented(self, spec: Spec) -> None:
        check_documented(pre_aggregators, spec)

    def test_shapes_types_and_counts_are_as_promised(self, spec: Spec) -> None:
        pre = pre_aggregators.make(spec)
        for m, d in ((1, 1), (4, 3), (7, 5), (8, 2)):
            means, sizes = kit.make_points(m, d)
            for tolerate in range(min(pre.breakdown(m), (m - 1) // 2) + 1):
                for rows in (means, means.float(), torch.stack([means, -means])):
                    found, counts, left = pre(rows, sizes, tolerate, facts())
                    assert found.shape == (*rows.shape[:-2], pre.clusters(m), d)
                    assert found.dtype == rows.dtype
                    assert counts.shape == (pre.clusters(m),)
                    assert counts.dtype == torch.int64
                    assert int(counts.sum()) == int(sizes.sum())
                    assert left == tolerate
                    assert bool(torch.isfinite(found).all())

    def test_rows_on_another_device_stay_there(self, spec: Spec) -> None:
        pre = pre_aggregators.make(spec)
        for m, d, dtype in ((8, 2, torch.float64), (7, 5, torch.float32)):
            means, sizes = kit.make_points(m, d)
            rows, tolerate = means.to(dtype), min(pre.breakdown(m), (m - 1) // 2)
            expected, counts, _ = pre(rows, sizes, tolerate, facts())
            with elsewhere():
                found, there, _ = pre(moved(rows), sizes, tolerate, facts())
            # Averages of at most m numbers below 10, in float32 at worst.
            assert torch.allclose(back(found), expected, rtol=0, atol=10 * m * 2.0**-24)
            assert back(there).tolist() == counts.tolist()

    def test_a_batch_is_its_cells_and_float32_is_float64_but_for_rounding(self, spec: Spec) -> None:
        pre = pre_aggregators.make(spec)
        means, sizes = kit.make_points(7, 5)
        batch = torch.stack([means, 2 * means + 1.0])
        found = pre(batch, sizes, 2, facts())[0]
        for cell, result in zip(batch, found, strict=True):
            assert float((pre(cell, sizes, 2, facts())[0] - result).abs().max()) <= CLOSE
        single = pre(means.float(), sizes, 2, facts())[0].double()
        # Numbers below 5, and at most 10 roundings of 2^-24 each.
        assert float((single - pre(means.float().double(), sizes, 2, facts())[0]).abs().max()) <= 5e-6

    def test_inputs_stay_and_equal_inputs_give_equal_results(self, spec: Spec) -> None:
        pre = pre_aggregators.make(spec)
        means, sizes = kit.make_points(8, 3)
        before, given_facts = means.clone(), facts()
        first, second = (pre(means, sizes, 2, given_facts) for _ in range(2))
        assert torch.equal(means, before)
        assert torch.equal(first[0], second[0])

    def test_hostile_rows_are_taken_out_and_counted(self, spec: Spec) -> None:
        pre = pre_aggregators.make(spec)
        means, sizes = kit.make_points(8, 3)
        for bad in (math.nan, math.inf, 1e300):
            poisoned = means.clone()
            poisoned[[0, 5], 1] = bad
            kept = [1, 2, 3, 4, 6, 7]
            found = pre(poisoned, sizes, 2, facts())
            expected = pre(means[kept], sizes[kept], 0, facts())
            assert torch.equal(found[0], expected[0])
            assert found[2] == 0
            with pytest.raises(CloisterError, match=r"^clusters \[0, 5\] hold numbers"):
                pre(poisoned, sizes, 1, facts())

    def test_cells_that_lost_different_rows_are_refused(self, spec: Spec) -> None:
        means, sizes = kit.make_points(6, 2)
        batch = torch.stack([means, means])
        batch[0, 0], batch[1, 1] = math.nan, math.nan
        with pytest.raises(CloisterError, match="different hostile rows"):
            pre_aggregators.make(spec)(batch, sizes, 2, facts())

    def test_huge_and_tiny_rows_are_numbers_like_others(self, spec: Spec) -> None:
        means, sizes = kit.make_points(8, 3)
        for number in (1e30, -1e30, 3e38, 1e-40):
            for dtype in (torch.float32, torch.float64):
                points = means.to(dtype)
                points[:2] = number
                found = pre_aggregators.make(spec)(points, sizes, 2, facts())[0]
                assert bool(torch.isfinite(found).all())
                if spec.name == "clip":
                    # In float32 a length is off by at most about 2^-15.
                    longest = found.double().norm(dim=1).max()
                    assert float(longest) <= dict(spec.parameters)["radius"] * (1 + 2.0**-14)


def clip(x: np.ndarray, f: int) -> np.ndarray:
    return np.array([row * min(1.0, 1.0 / np.linalg.norm(row)) for row in x])


def arc(x: np.ndarray, f: int) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1)
    limit = sorted(lengths, reverse=True)[math.floor(2 * f * (len(x) - f) / len(x) + 1e-9)]
    return np.array([row * min(1.0, limit / length) for row, length in zip(x, lengths, strict=True)])


def nnm(x: np.ndarray, f: int) -> np.ndarray:
    return np.array(
        [np.mean(sorted(x, key=lambda other: np.linalg.norm(other - row))[: len(x) - f], axis=0) for row in x]
    )


@pytest.mark.parametrize("definition", [clip, arc, nnm], ids=lambda each: each.__name__)
def test_a_pre_aggregator_is_its_definition_written_out(definition: Callable[[np.ndarray, int], np.ndarray]) -> None:
    for m, d in ((1, 2), (4, 3), (9, 4), (10, 6)):
        means, sizes = kit.make_points(m, d)
        for tolerate in range((m + 1) // 2):
            found = pre_of(definition.__name__)(means, sizes, tolerate)[0].numpy()
            assert np.abs(found - definition(means.numpy(), tolerate)).max() <= CLOSE


def test_without_a_pre_aggregator_rows_come_out_as_they_went_in() -> None:
    means, sizes = kit.make_points(7, 3)
    for rows in (means, means.float(), torch.stack([means, -means])):
        found, counts, left = pre_of("none")(rows, sizes, 2)
        assert torch.equal(found, rows)
        assert found.dtype == rows.dtype
        assert (counts.tolist(), left) == (sizes.tolist(), 2)


@pytest.mark.parametrize("name", ["clip", "arc"])
def test_what_is_not_longer_than_the_limit_stays_as_it_is_to_the_bit(name: str) -> None:
    means, sizes = kit.make_points(10, 5)
    lengths = means.norm(dim=1)
    limit = 2.0 if name == "clip" else float(lengths.sort(descending=True).values[math.floor(2 * 3 * 7 / 10)])
    found = pre_of(name, **({"radius": limit} if name == "clip" else {}))(means, sizes, 3)[0]
    stays = lengths <= limit
    assert 0 < int(stays.sum()) < 10
    assert torch.equal(found[stays], means[stays])
    assert float(found.norm(dim=1).max()) <= limit * (1 + CLOSE)


def test_arc_cuts_as_many_as_the_source_says() -> None:
    """k = floor(2 (F / m) (m - F)): 10 rows with F = 1 cut floor(1.8) = 1, with F = 5 - 1 floor(4.8) = 4."""
    means = torch.diag(torch.arange(1.0, 11.0, dtype=torch.float64))
    for tolerate, cut in ((0, 0), (1, 1), (2, 3), (3, 4), (4, 4)):
        found = pre_of("arc")(means, torch.ones(10, dtype=torch.int64), tolerate)[0].norm(dim=1)
        assert int((found < means.norm(dim=1)).sum()) == cut
        assert float(found.max()) == 10 - cut


class TestBucketing:
    @given(m=st.integers(1, 40), size=st.integers(1, 8), seed=st.integers(0, 5))
    def test_every_cluster_is_in_one_bucket_and_no_bucket_is_small(self, m: int, size: int, seed: int) -> None:
        """Rows of a unit matrix tell who is where."""
        sizes = torch.arange(1, m + 1)
        found, counts, _ = Bucketing(size=size)(torch.eye(m, dtype=torch.float64), sizes, 0, facts(seed))
        members = (found > 0).sum(dim=1)
        assert bool(((found > 0).sum(dim=0) == 1).all())
        assert int(members.min()) >= min(size, m)
        assert int(members.max()) - int(members.min()) <= 1
        assert float((found.sum(dim=1) - 1.0).abs().max()) <= CLOSE
        assert ((found > 0).long() @ sizes).tolist() == counts.tolist()

    @given(m=st.integers(2, 30), size=st.integers(1, 6))
    def test_the_mean_over_processes_stays(self, m: int, size: int) -> None:
        means, sizes = kit.make_points(m, 3)
        found, counts, _ = Bucketing(size=size)(means, sizes, 0, facts())
        before, after = (w.double() @ x / w.sum() for w, x in ((sizes, means), (counts, found)))
        assert float((before - after).abs().max()) <= CLOSE

    def test_all_pairs_meet_about_equally_often(self) -> None:
        """6 clusters in buckets of 2: each of 15 pairs meets in a fifth of the shuffles.

        Of 1,000, a pair meets 200 times, give or take 6.5 standard deviations of 13 for 15 pairs but for 2e-9.
        """
        together = np.zeros((6, 6))
        for seed in range(1000):
            found = Bucketing()(torch.eye(6, dtype=torch.float64), torch.ones(6, dtype=torch.int64), 0, facts(seed))[0]
            inside = (found > 0).double().numpy()
            together += inside.T @ inside
        pairs = together[np.triu_indices(6, 1)]
        assert np.abs(pairs - 200).max() <= 6.5 * math.sqrt(1000 * 0.2 * 0.8)

    def test_no_more_buckets_are_tainted_than_clusters(self) -> None:
        for seed in range(50):
            rows = torch.zeros(13, 1, dtype=torch.float64)
            rows[:4] = 1e6
            found, _, left = Bucketing(size=3)(rows, torch.ones(13, dtype=torch.int64), 4, facts(seed))
            assert int((found > 0).sum()) <= left == 4


CHAINS = [("nnm",), ("arc",), ("clip",), ("arc", "nnm"), ("bucketing",), ("bucketing", "nnm")]


def chain_of(names: tuple[str, ...], rule: str) -> Aggregator:
    return composed(*(pre_of(name) for name in names), rule=rule_of(rule))


def worst_of_buckets(size: int, rule: str) -> float:
    """Return the largest error as a share of what the coefficient allows; AssertionError where that is not all.

    Tainted rows at several lengths, honest ones that agree but for a lone one or the half that is elsewhere, of equal
    and of unequal clusters, in several shuffles.
    """
    together, worst = composed(pre_of("bucketing", size=size), rule=rule_of(rule)), 0.0
    for m, seed, uneven in itertools.product((9, 11), range(2), (False, True)):
        sizes = torch.tensor(balanced_sizes(2 * m + 3, 2)[:m]) if uneven else torch.full((m,), 2)
        means, _ = kit.make_points(m, 2, seed=seed)
        lone, camps = 1e-3 * means, 1e-3 * means + 10.0 * (torch.arange(m) % 2)[:, None]
        lone[-1] += 1.0
        for tolerate in range(together.breakdown(m) + 1):
            bound = together.coefficient(sizes, tolerate)
            honest = torch.stack([points[tolerate:] for points in (means, lone, camps) for _ in range(3)])
            lengths = torch.tensor([-20.0, 1.0, 3.0]).repeat(3)[:, None, None]
            tainted = (lengths * honest.amax(dim=1, keepdim=True)).expand(-1, tolerate, -1)
            results = together(torch.cat([tainted, honest], dim=1), sizes, tolerate, facts(seed))
            for result, rows in zip(results, honest, strict=True):
                assert within_coefficient(together, result, rows, sizes, tolerate)
                centre = rows.mean(dim=0)
                variance = float((rows - centre).square().sum(dim=1).mean())
                worst = max(worst, float((result - centre).square().sum()) / (bound * variance))
    return worst


class TestComposed:
    @pytest.mark.parametrize("rule", ["median", "krum", "phocas"])
    @pytest.mark.parametrize("names", CHAINS, ids="+".join)
    def test_it_is_one_after_the_other_with_hostile_rows_taken_out_once(
        self, names: tuple[str, ...], rule: str
    ) -> None:
        together = chain_of(names, rule)
        means, sizes = kit.make_points(14, 4)
        for tolerate in range(1, together.breakdown(14) + 1):
            batch = torch.stack([means, means.flip(0)])
            batch[0, 3], batch[1, 5] = math.nan, 1e300
            found = together(batch, sizes, tolerate, facts())
            for cell, hostile, result in zip(batch, (3, 5), found, strict=True):
                kept = [j for j in range(14) if j != hostile]
                alone = together(cell[kept], sizes[kept], tolerate - 1, facts())
                assert float((alone - result).abs().max()) <= CLOSE

    def test_without_steps_it_is_the_rule_itself(self) -> None:
        rule = rule_of("median")
        assert composed(rule=rule) is rule

    @pytest.mark.parametrize("names", CHAINS, ids="+".join)
    def test_the_rule_is_told_of_the_rows_that_reach_it(self, names: tuple[str, ...]) -> None:
        """13 clusters, and 6 buckets where there are buckets: krum then withstands one."""
        assert chain_of(names, "krum").breakdown(13) == (1 if "bucketing" in names else 5)
        assert chain_of(names, "krum").breakdown(4) == (-1 if "bucketing" in names else 0)
        with pytest.raises(CloisterError, match="tolerate = 6 tainted clusters of 13 is beyond this rule"):
            chain_of(names, "krum")(*kit.make_points(13, 2), 6, facts())

    @pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "smea", "mda", "bulyan"])
    @pytest.mark.parametrize("names", [("nnm",), ("arc",), ("arc", "nnm"), ("nnm", "arc"), ()], ids="+".join)
    def test_it_stays_within_its_coefficient(self, names: tuple[str, ...], rule: str) -> None:
        """Attacks of many lengths and directions on random, lone and opposed honest means, at every F."""
        together, tried = chain_of(names, rule), 0
        for m, d in ((7, 3), (9, 2)):
            for tolerate in range(together.breakdown(m) + 1):
                means, _ = kit.make_points(m, d)
                lone, camps = 1e-3 * means, means + 10.0 * (torch.arange(m) % 2)[:, None]
                lone[-1] += 1.0
                for points, length in itertools.product(
                    (means, means + 5.0, lone, camps), (-20.0, -1.0, 0.0, 1.0, 3.0, 1e9)
                ):
                    honest = points[tolerate:]
                    tainted = (length * honest.mean(dim=0)).expand(tolerate, -1)
                    sizes = torch.full((m,), 2)
                    result = together(torch.cat([tainted, honest]), sizes, tolerate, facts())
                    assert math.isfinite(together.coefficient(sizes, tolerate))
                    assert within_coefficient(together, result, honest, sizes, tolerate)
                    tried += 1
        assert tried

    @pytest.mark.parametrize("rule", ["median", "trimmed_mean", "geometric_median", "weighted_median", "smea"])
    @pytest.mark.parametrize("size", [2, 3])
    def test_buckets_stay_within_their_coefficient(self, size: int, rule: str) -> None:
        assert worst_of_buckets(size, rule) > 0.02  # the search is not idle

    def test_a_coefficient_of_buckets_that_is_a_tenth_of_it_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = Bucketing.coefficient
        monkeypatch.setattr(Bucketing, "coefficient", lambda self, *given: 0.1 * original(self, *given))
        with pytest.raises(AssertionError):
            worst_of_buckets(2, "smea")

    @given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12), size=st.integers(1, 4), seed=st.integers(0, 99))
    def test_no_draw_gives_buckets_more_members_than_those_that_a_promise_counts_on(
        self, sizes: list[int], size: int, seed: int
    ) -> None:
        counts = torch.tensor(sizes)
        bucketing = Bucketing(size=size)
        _, drawn, _ = bucketing(torch.zeros(len(sizes), 1, dtype=torch.float64), counts, 0, facts(seed))
        assumed = bucketing.sizes_after(counts)
        assert assumed.shape == drawn.shape
        assert int(assumed.sum()) == sum(sizes)
        most, found = (each.sort(descending=True).values.cumsum(0) for each in (assumed, drawn))
        assert bool((most >= found).all())

    @given(
        sizes=st.lists(st.integers(1, 9), min_size=2, max_size=9),
        pair=st.tuples(st.integers(0, 8), st.integers(0, 8)),
        tolerate=st.integers(0, 3),
    )
    def test_no_coefficient_is_smaller_where_larger_clusters_have_more(
        self, sizes: list[int], pair: tuple[int, int], tolerate: int
    ) -> None:
        """What `sizes_after` relies on: of all rules, those of third parties too, once they are registered."""
        first, second = (number % len(sizes) for number in pair)
        low, high = sorted((first, second), key=lambda j: sizes[j])
        steeper = list(sizes)
        if low != high and sizes[low] > 1:
            steeper[low], steeper[high] = sizes[low] - 1, sizes[high] + 1
        for name in aggregators.entries():
            rule = rule_of(name)
            if tolerate <= rule.breakdown(len(sizes)):
                less = rule.coefficient(torch.tensor(sizes), tolerate)
                assert rule.coefficient(torch.tensor(steeper), tolerate) >= less * (1 - 1e-12), name

    def test_a_coefficient_too_small_is_seen(self) -> None:
        """The twin of the test above: a result 10 beside the right one, in units of the honest spread."""
        means, _ = kit.make_points(7, 3)
        honest = means[2:] + 5.0
        together = chain_of(("arc",), "median")
        far = together(torch.cat([-honest[:2], honest]), torch.full((7,), 2), 2, facts()) + 10.0
        assert not within_coefficient(together, far, honest, torch.full((7,), 2), 2)

    @pytest.mark.parametrize("tolerate", [0, 1, 3])
    @pytest.mark.parametrize("names", [*CHAINS, ("nnm", "clip"), ("nnm", "arc")], ids="+".join)
    def test_no_steps_make_a_promise_of_a_rule_that_makes_none(self, names: tuple[str, ...], tolerate: int) -> None:
        """Rules that are not the identity on equal rows keep an infinite coefficient, also where nothing is tainted."""
        sizes = torch.full((12,), 2)
        tried = 0
        for name in aggregators.entries():
            if math.isinf(rule_of(name).coefficient(sizes, tolerate)):
                assert math.isinf(chain_of(names, name).coefficient(sizes, tolerate)), name
                tried += 1
        assert tried >= 6

    @pytest.mark.parametrize("name", sorted(aggregators.entries()))
    def test_what_is_promised_without_tainted_clusters_holds(self, name: str) -> None:
        """Means of length 30 and spread 1; the twin is clipping, which is off by its length and may promise nothing."""
        means, sizes = kit.make_points(9, 3)
        honest = means + 17.0
        for names in CHAINS:
            together = chain_of(names, name)
            mixed = "bucketing" in names and "history" in needs_of(aggregators.entry(name))  # rows of other clusters
            if together.breakdown(9) >= 0 and not mixed:
                result = together(honest, sizes, 0, kit.make_given(honest))
                assert within_coefficient(together, result, honest, sizes, 0)

    @pytest.mark.parametrize(("names", "known"), [(("clip",), False), (("bucketing",), True), (("nnm",), True)])
    def test_what_is_not_proved_is_not_promised(self, names: tuple[str, ...], known: bool) -> None:
        together, sizes = chain_of(names, "median"), torch.full((12,), 2)
        assert math.isfinite(together.coefficient(sizes, 2)) is known
        assert together.sensitivity(sizes, 2) == (
            rule_of("median").sensitivity(sizes, 2) if names == ("clip",) else None
        )

    def test_it_says_whom_it_excludes_where_no_row_has_a_part_in_another(self) -> None:
        means, sizes = kit.make_points(9, 3)
        means[2], means[7] = 50.0, math.nan
        together = chain_of(("none", "clip"), "krum")
        assert isinstance(together, SelectingComposed)
        assert isinstance(together, Selecting)
        excluded = together.excluded(means, sizes, 3, facts())
        assert int(excluded.sum()) == 8
        assert bool(excluded[7])
        silent = ((("bucketing",), "krum"), (("nnm",), "krum"), (("clip", "arc"), "krum"), (("clip",), "median"))
        for names, rule in silent:
            other = chain_of(names, rule)
            assert isinstance(other, Composed)
            assert not isinstance(other, Selecting)

    @pytest.mark.parametrize("rule", ["krum", "multi_krum", "mda", "medoid"])
    def test_a_cluster_that_it_excludes_has_no_part_in_the_result(self, rule: str) -> None:
        """A small change of an excluded row changes nothing; of random rows of length 2, most are clipped to 1."""
        means, sizes = kit.make_points(9, 3)
        together = chain_of(("clip",), rule)
        assert isinstance(together, Selecting)
        tolerate = together.breakdown(9)
        out = together.excluded(means, sizes, tolerate, facts())
        assert bool(out.any())
        before = together(means, sizes, tolerate, facts())
        for j in out.nonzero().flatten():
            moved = means.clone()
            moved[j] *= 1 + 1e-6
            assert torch.equal(together(moved, sizes, tolerate, facts()), before)

    @pytest.mark.parametrize("name", ["nnm", "arc", "clip", "none"])
    def test_steps_that_are_not_row_by_row_let_excluded_rows_into_the_result(self, name: str) -> None:
        """The twin: krum selects one of 9 rows, and after nnm and arc others change it as well."""
        means, sizes = kit.make_points(9, 3)
        krum = rule_of("krum")
        assert isinstance(krum, Selecting)
        rows = pre_of(name)(means, sizes, 3, facts())[0]
        moves = []
        for j in krum.excluded(rows, sizes, 3).nonzero().flatten():
            moved = means.clone()
            moved[j] *= 1 + 1e-6
            after = krum(pre_of(name)(moved, sizes, 3, facts())[0], sizes, 3)
            moves.append(float((after - krum(rows, sizes, 3)).abs().max()))
        assert len(moves) == 8
        assert (max(moves) == 0) is pre_of(name).row_by_row, moves

    def test_each_step_and_the_rule_draw_from_streams_of_their_own(self) -> None:
        seen: list[float] = []

        class Drawing:
            in_place = True
            row_by_row = True
            clusters = staticmethod(lambda m: m)
            breakdown = staticmethod(lambda m: m)

            def __call__(self, means, sizes, tolerate, given):
                seen.append(float(given.rng.random()))
                return means, sizes, tolerate

        step = Drawing()
        means, sizes = kit.make_points(5, 2)
        for seed in (0, 0, 1):
            Composed(steps=(step, step), rule=rule_of("median"))(means, sizes, 0, facts(seed))
        assert seen[:2] == seen[2:4]
        assert len(set(seen)) == 4

    def test_a_history_goes_as_far_as_rows_keep_their_places(self) -> None:
        means, sizes = kit.make_points(6, 3)
        past = Given(history=2 * means, rng=public_stream(0, "history"))
        found = chain_of(("clip",), "foolsgold")(means, sizes, 0, past)
        clipped = pre_of("clip")(means, sizes, 0)[0]
        assert torch.equal(found, rule_of("foolsgold")(clipped, sizes, 0, past))
        with pytest.raises(CloisterError, match=r"given\.history = None"):
            chain_of(("bucketing",), "foolsgold")(means, sizes, 0, past)


def test_every_registered_pre_aggregator_is_tried() -> None:
    assert {spec.name for spec in EXAMPLES} == set(NAMES) == {"arc", "bucketing", "clip", "nnm", "none"}


def test_a_rule_that_promises_nothing_breaks_no_promise_where_honest_means_agree() -> None:
    """Infinity times a variance of zero is no number, and no comparison with it is true."""
    honest = torch.ones(4, 2, dtype=torch.float64)
    sizes = torch.full((6,), 2)
    assert math.isinf(rule_of("cge").coefficient(sizes, 2))
    assert within_coefficient(rule_of("cge"), torch.zeros(2, dtype=torch.float64), honest, sizes, 2)
    assert not within_coefficient(rule_of("median"), torch.zeros(2, dtype=torch.float64), honest, sizes, 2)
