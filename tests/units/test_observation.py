"""What a round showed is judged by what happened, never by what the verdict said."""

from dataclasses import replace

import pytest
import torch

from bench.observation import Observation, OpenedCluster, observe
from bench.replaying import learns
from protocols.aggregators import aggregators
from protocols.playable import conditions_named
from protocols.secure_sum import secure_sums
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.verdict import FaultyProcesses, Verdict, verdict
from protocols.types import Clustering

CLUSTERING = Clustering(clusters=((0, 1, 2), (3, 4, 5), (6, 7, 8)))
MEDIAN = aggregators.make(aggregators.resolve("median"))
MEANS = torch.tensor([[0.0, 1.0], [0.1, 1.1], [0.2, 0.9]], dtype=torch.float64)


def said_of(faulty: FaultyProcesses) -> Verdict:
    return verdict(CLUSTERING, faulty, conditions_of("additive"), MEDIAN.breakdown(3))


def opened(number: int, *, contributors: tuple[int, ...] | None = None, exact: bool = True) -> OpenedCluster:
    return OpenedCluster(
        number=number, contributors=contributors or CLUSTERING.clusters[number], exact=exact, in_clear=False
    )


def seen(
    faulty: FaultyProcesses,
    *,
    clusters: list[OpenedCluster] | None = None,
    means: torch.Tensor = MEANS,
    result: torch.Tensor | None = None,
    checked: bool = False,
) -> Observation:
    there = [opened(j) for j in range(3)] if clusters is None else clusters
    shown = means[[each.number for each in there]]
    sizes = torch.tensor([len(each.contributors) for each in there])
    given = MEDIAN(shown, sizes, 0) if result is None and there else result
    in_sums = frozenset(process for each in there for process in each.contributors)
    excluded = frozenset(range(9)) - in_sums - faulty.crashed if checked else None
    said = said_of(faulty)
    return observe(there, shown, sizes, given, said=said, faulty=faulty, rule=MEDIAN, tolerate=1, excluded=excluded)


def test_a_round_without_faults_breaks_nothing() -> None:
    faulty = FaultyProcesses(n=9)
    assert seen(faulty) == Observation(
        exposed=frozenset(), by_shares=frozenset(), wrong_sums=(), lost=(), near_honest=True, live=True
    )
    assert not seen(faulty).contradicts(said_of(faulty))


def test_a_sum_with_one_process_outside_the_coalition_exposes_it() -> None:
    faulty = FaultyProcesses(n=9, curious=frozenset([0]), byzantine=frozenset([2]))
    found = seen(faulty)
    assert found.exposed == {1}
    assert not found.private
    assert found.contradicts(said_of(faulty)) == ()  # the verdict had said so


def test_a_sum_whose_other_members_have_dropped_out_exposes_the_last_one_and_contradicts_a_verdict() -> None:
    faulty = FaultyProcesses(n=9)
    found = seen(faulty, clusters=[opened(0, contributors=(1,)), opened(1), opened(2)])
    assert found.exposed == {1}
    assert found.contradicts(said_of(faulty)) == ("private",)


def test_inputs_in_the_clear_expose_everybody_but_the_coalition() -> None:
    in_clear = OpenedCluster(number=0, contributors=(0, 1, 2), exact=True, in_clear=True)
    found = seen(FaultyProcesses(n=9, curious=frozenset([2])), clusters=[in_clear, opened(1), opened(2)])
    assert found.exposed == {0, 1}


def test_a_wrong_sum_of_honest_members_is_an_observation_and_one_with_a_byzantine_member_is_not() -> None:
    clusters = [opened(0), opened(1, exact=False), opened(2)]
    honest, liar = FaultyProcesses(n=9), FaultyProcesses(n=9, byzantine=frozenset([4]))
    assert seen(honest, clusters=clusters).wrong_sums == (1,)
    assert seen(honest, clusters=clusters).contradicts(said_of(honest)) == ("correct",)
    assert seen(liar, clusters=clusters).wrong_sums == ()


def test_a_result_far_from_the_honest_means_is_not_correct() -> None:
    faulty = FaultyProcesses(n=9, byzantine=frozenset([8]))
    far = torch.tensor([5.0, 5.0], dtype=torch.float64)
    assert seen(faulty).correct
    assert not seen(faulty, result=far).near_honest
    assert seen(faulty, result=far).contradicts(said_of(faulty)) == ("correct",)


def test_tainted_means_do_not_count_as_honest() -> None:
    faulty = FaultyProcesses(n=9, byzantine=frozenset([8]))
    means = MEANS.clone()
    means[2] = 1e6
    assert not seen(faulty, means=means, result=means.mean(dim=0)).correct
    assert seen(faulty, means=means).correct


@pytest.mark.parametrize("there", [0, 1, 2])
def test_more_lost_clusters_than_the_rule_withstands_are_not_live(there: int) -> None:
    found = seen(FaultyProcesses(n=9), clusters=[opened(j) for j in range(there)])
    assert found.live is (3 - there <= 1)
    assert found.lost == tuple(range(there, 3))
    if not there:
        assert not found.correct


class TestInputsThatDoNotPass:
    """Clusters that open that nobody passed their check: what they forgive, and what they do not."""

    FAR = torch.tensor([5.0, 5.0], dtype=torch.float64)

    def seen(
        self,
        *byzantine: int,
        empty: tuple[int, ...] = (0,),
        result: torch.Tensor | None = FAR,
        exact: bool = True,
        **axes: bool,
    ) -> tuple[Observation, Verdict]:
        faulty = FaultyProcesses(n=9, byzantine=frozenset(byzantine))
        said = said_of(faulty)
        there = [opened(j, exact=exact) for j in range(3) if j not in empty]
        means, sizes = MEANS[: len(there)], torch.full((len(there),), 3)
        excluded = frozenset(process for j in empty for process in CLUSTERING.clusters[j])
        given = {"said": said, "faulty": faulty, "rule": MEDIAN, "tolerate": 0, "excluded": excluded}
        return observe(there, means, sizes, result, empty=frozenset(empty), **given, **axes), said

    def test_a_result_that_tainted_clusters_own_is_wrong_whatever_is_empty(self) -> None:
        found, said = self.seen(0, 3, 6)
        assert (said.correct, found.correct, found.passed) == (False, False, True)
        assert "farther" in " ".join(found.why)

    def test_a_far_result_beside_a_cluster_that_liars_emptied_contradicts_a_verdict(self) -> None:
        found, said = self.seen(0)
        assert said.correct
        assert found.contradicts(said) == ("correct",)
        near, _ = self.seen(0, result=MEDIAN(MEANS[:2], torch.tensor([3, 3]), 0))
        assert near.correct
        assert near.lost == ()

    def test_a_sum_that_a_liar_changed_is_not_honest_though_it_is_not_in_it(self) -> None:
        """Its huge mean among the honest ones would put any result near them."""
        faulty = FaultyProcesses(n=9, byzantine=frozenset([0, 3]))
        there = [opened(0, contributors=(1, 2), exact=False), opened(1, contributors=(4, 5), exact=False), opened(2)]
        means = MEANS.clone()
        means[:2] = torch.tensor([[1e14, -1e14], [-1e14, 1e14]])
        found = seen(faulty, clusters=there, means=means, result=torch.tensor([1e13, 1e13]).double())
        assert not found.near_honest
        exact = [opened(0, contributors=(1, 2)), opened(1, contributors=(4, 5)), opened(2)]
        assert seen(faulty, clusters=exact).near_honest

    @pytest.mark.parametrize("result", [FAR, None])
    def test_where_honest_updates_do_not_pass_a_wrong_result_is_seen_and_contradicts_nothing(
        self, result: torch.Tensor | None
    ) -> None:
        found, said = self.seen(3, empty=(0,) if result is not None else (0, 1, 2), result=result)
        assert (said.correct, found.correct, found.passed) == (True, False, False)
        assert found.contradicts(said) == ()
        assert "updates of honest members did not pass" in " ".join(found.why)

    def test_honest_updates_that_are_made_to_pass_excuse_nothing(self) -> None:
        found, said = self.seen(3, all_pass=True)
        assert found.contradicts(said) == ("correct",)

    def test_a_cluster_that_its_liars_alone_cannot_empty_shows_that_honest_updates_do_not_pass(self) -> None:
        faulty, members = FaultyProcesses(n=9, byzantine=frozenset([0, 3, 6])), frozenset(range(9))
        nothing, sizes = MEANS[:0], torch.zeros(0, dtype=torch.int64)

        def all_empty(least: int, *, inputs_only: bool) -> tuple[bool, tuple[str, ...]]:
            rule = conditions_named("norm_check", least_passing=least)
            said = verdict(CLUSTERING, faulty, rule, MEDIAN.breakdown(3))
            given = {"said": said, "faulty": faulty, "rule": MEDIAN, "tolerate": 1, "empty": frozenset(range(3))}
            found = observe([], nothing, sizes, None, excluded=members, inputs_only=inputs_only, **given)
            return found.passed, found.contradicts(replace(said, correct=True))

        assert all_empty(2, inputs_only=True) == (False, ())
        assert all_empty(2, inputs_only=False) == (True, ("correct",))  # they may have had others fail
        assert all_empty(3, inputs_only=True) == (True, ("correct",))  # two that pass are too few

    def test_a_wrong_sum_of_honest_members_contradicts_all_the_same(self) -> None:
        found, said = self.seen(exact=False)
        assert found.contradicts(said) == ("correct",)

    def test_an_honest_member_that_is_left_out_of_a_sum_counts_as_one_of_an_empty_cluster(self) -> None:
        for byzantine, contributors, passed in (((), (1, 2), False), ((0,), (1, 2), True), ((0,), (1,), True)):
            faulty = FaultyProcesses(n=9, byzantine=frozenset(byzantine))
            there = [opened(0, contributors=contributors), opened(1), opened(2)]
            assert seen(faulty, clusters=there, checked=True).passed is passed
        # Where its Byzantine member chooses inputs only, nobody but itself can have left it out.
        alone = OpenedCluster(number=0, contributors=(1,), exact=True, in_clear=False, withstands=True)
        liar = FaultyProcesses(n=9, byzantine=frozenset([0]))
        assert not seen(liar, clusters=[alone, opened(1), opened(2)], checked=True).passed
        assert seen(FaultyProcesses(n=9, crashed=frozenset([0])), clusters=there[1:], checked=True).passed

    def test_an_honest_member_that_is_left_out_where_nobody_checks_excuses_nothing(self) -> None:
        there = [opened(0, contributors=(1, 2)), opened(1), opened(2)]
        faulty, far = FaultyProcesses(n=9), self.FAR
        found = seen(faulty, clusters=there, result=far)
        assert (found.passed, found.contradicts(said_of(faulty))) == (True, ("correct",))
        assert "did not pass" not in " ".join(found.why)
        checked = seen(faulty, clusters=there, result=far, checked=True)
        assert (checked.passed, checked.contradicts(said_of(faulty))) == (False, ())


class TestShares:
    """What colluding members learn from the shares that they hold, by a replay of the protocol."""

    FAULTY = FaultyProcesses(n=9, curious=frozenset([3, 4]))

    def test_a_coalition_that_its_shares_tell_more_exposes_the_others_of_its_cluster(self) -> None:
        asked: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []

        def replay(parties: int, coalition: tuple[int, ...], crashed: tuple[int, ...]) -> bool:
            asked.append((parties, coalition, crashed))
            return True

        clustering = Clustering(clusters=((0, 1, 2), (8, 3, 4, 5, 6, 7)))
        said = verdict(clustering, self.FAULTY, conditions_of("shamir", threshold="1"), 0)
        there = [
            OpenedCluster(number=j, contributors=members, exact=True, in_clear=False)
            for j, members in enumerate(clustering.clusters)
        ]
        sizes = torch.tensor([3, 6])
        given = {"said": said, "faulty": self.FAULTY, "rule": MEDIAN, "tolerate": 0}
        found = observe(there, MEANS[:2], sizes, MEDIAN(MEANS[:2], sizes, 0), replay=replay, **given)
        assert asked == [(6, (1, 2), ())]
        assert found.exposed == found.by_shares == {5, 6, 7, 8}
        assert "shares tell of processes [5, 6, 7, 8] (replayed)" in found.why
        assert not said.private
        quiet = observe(there, MEANS[:2], sizes, MEDIAN(MEANS[:2], sizes, 0), replay=lambda *asked: False, **given)
        assert quiet.private

    @pytest.mark.parametrize("crashed", [(), (4,)])
    def test_a_replay_finds_what_the_threshold_says(self, crashed: tuple[int, ...]) -> None:
        spec = secure_sums.resolve({"name": "shamir", "mode": "passive", "threshold": "1", "least_honest": 1})
        assert learns(spec, 5, (0,), crashed) is False
        assert learns(spec, 5, (0, 2), crashed) is True

    def test_what_cannot_be_replayed_is_not_called_safe(self) -> None:
        assert learns(secure_sums.resolve("masked"), 4, (0,), ()) is None
        assert learns(secure_sums.resolve("additive"), 9, (0,), ()) is None
        assert learns(secure_sums.resolve("additive"), 4, (0,), (1,)) is None
