"""Norm checks, clipping and Krum on shared values: what hostile numbers can and cannot do."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.secure_robust import _scan, _waves, robust_statistics
from protocols.secure_robust._checked import Range
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from protocols.secure_robust.centered_clipping import CenteredClipping
from protocols.secure_robust.clip import Clip
from protocols.secure_robust.krum import Krum
from protocols.secure_robust.nnm import Nnm
from protocols.secure_robust.norm_check import NormCheck
from protocols.secure_robust.range_check import RangeCheck
from protocols.secure_sum import Opened

UNIT = 2**16


def opened_by(name: str, words: Tensor, **parameters: float) -> OpenedSums:
    spec = robust_statistics.resolve({"name": name, **parameters})
    return InProcessParties(words.shape[1]).open_sums(spec, words)


def hostile_clusters(hostile: list[int], *, coordinates: int = 3, members: int = 3) -> Tensor:
    """One cluster a word: all members send small words, but member 1 sends that word in its last coordinate."""
    words = torch.arange(members * coordinates).view(1, members, coordinates).repeat(len(hostile), 1, 1)
    words[:, 1, -1] = torch.tensor(hostile)
    return words


WRAPPING = [
    *(sign * word for sign in (1, -1) for word in (2**47, 46_341 * UNIT, 65_536 * UNIT, 2**32, 3 * 2**31, 2**62)),
    -(2**63),
    2**63 - 1,
]
"""Some of these have squares that are 0 modulo 2^64, some squares that are negative."""


class TestNormCheck:
    def test_a_word_whose_square_wraps_around_is_named_and_moves_nothing(self) -> None:
        words = hostile_clusters(WRAPPING)
        opened = opened_by("norm_check", words, norm=1.0)
        assert opened.kept is not None
        assert opened.kept.tolist() == [[True, False, True]] * len(WRAPPING)
        assert torch.equal(opened.sums, words[:, 0] + words[:, 2])

    def test_a_word_out_of_range_is_seen_in_whichever_wave_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_waves, "_WAVE_WORDS", 1)
        words = torch.zeros(3, 3, 130, dtype=torch.int64)
        for cluster, coordinate in enumerate((0, 100, 129)):
            words[cluster, cluster, coordinate] = 2**32  # its square is 0 modulo 2^64
        opened = opened_by("norm_check", words, norm=1.0)
        assert torch.equal(opened.kept, ~torch.eye(3, dtype=torch.bool)) if opened.kept is not None else False

    def test_the_longest_allowed_passes_and_one_unit_more_does_not(self) -> None:
        statistic = NormCheck(norm=1.0)
        longest = statistic.longest(1)
        beyond = 1 << longest.bit_length()
        tried = [longest, longest + 1, beyond - 1, beyond, -longest, -longest - 1, -beyond, -beyond - 1]
        words = torch.tensor(tried).view(1, len(tried), 1)
        opened = opened_by("norm_check", words[:, :5], norm=1.0)
        assert opened.kept is not None
        assert opened.kept.tolist() == [[True, False, False, False, True]]
        opened = opened_by("norm_check", words[:, 4:], norm=1.0, least_passing=1)
        assert opened.kept is not None
        assert opened.kept.tolist() == [[True, False, False, False]]

    @given(seed=st.integers(0, 2**31), coordinates=st.integers(1, 40))
    def test_an_update_of_norm_at_most_the_bound_always_passes_and_what_passes_is_not_longer(
        self, seed: int, coordinates: int
    ) -> None:
        statistic = NormCheck(norm=2.0)
        rng = torch.Generator().manual_seed(seed)
        updates = torch.randn(1, 4, coordinates, generator=rng, dtype=torch.float64)
        lengths = torch.tensor([0.5, 2.0, 2.0 - 1e-12, 2.0 + (math.sqrt(coordinates) + 3) / UNIT])[:, None]
        updates *= (lengths / updates[0].norm(dim=1, keepdim=True)).double()
        # Scaling in float64 may leave a norm above 2 by a few parts in 2^53: far below the unit of 2^-16 of slack.
        words = statistic.ring.encode(updates, terms=4)
        opened = statistic.reference(words)
        assert opened.kept is not None
        assert opened.kept.tolist() == [[True, True, True, False]]

    def test_b_members_move_the_mean_by_at_most_what_the_norm_allows(self) -> None:
        honest = torch.zeros(1, 3, 2, dtype=torch.int64)
        statistic = NormCheck(norm=1.0)
        longest = statistic.longest(2)
        means = []
        for word in (longest, -longest, 2**40):
            words = honest.clone()
            words[0, 2, 0] = word
            opened = statistic.reference(words)
            means.append(statistic.decode(opened, parties=3))
        assert float((means[0] - means[1]).abs().max()) == pytest.approx(2 * longest / UNIT / 3)
        assert not means[2].any()

    def test_nobody_passes(self) -> None:
        words = torch.full((1, 3, 2), 2**40)
        opened = opened_by("norm_check", words, norm=1.0)
        assert not opened.sums.any()
        assert not NormCheck().decode(NormCheck(norm=1.0).reference(words), parties=3).any()

    def test_a_norm_too_large_for_its_coordinates_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="squares of 1000000 words of 24 bits"):
            NormCheck(norm=200.0).cost(parties=3, clusters=1, coordinates=10**6)

    def test_nothing_opens_of_fewer_than_have_to_pass(self) -> None:
        """Clusters of 4 in which 4, 3, 2, 1 and no members pass: 3 have to."""
        words = torch.arange(60).view(5, 4, 3).clone()
        for cluster in range(5):
            words[cluster, :cluster] = 2**40
        opened = opened_by("norm_check", words, norm=1.0, least_passing=3)
        assert opened.kept is not None
        assert opened.kept.sum(dim=1).tolist() == [4, 3, 0, 0, 0]
        assert torch.equal(opened.sums[:2], torch.stack([words[0].sum(dim=0), words[1, 1:].sum(dim=0)]))
        assert torch.equal(opened.sums, NormCheck(norm=1.0, least_passing=3).reference(words).sums)
        assert not opened.sums[2:].any()

    @pytest.mark.parametrize("members", [3, 4, 5, 6])
    def test_a_coalition_learns_a_single_update_exactly_where_its_conditions_say_so(self, members: int) -> None:
        """Of all sums that may open, over all sets of members that may pass; and of shares, from t + 1 members on."""
        passing = [set(chosen) for k in range(members + 1) for chosen in combinations(range(members), k)]
        for least in range(1, members + 1):
            conditions = NormCheck(least_passing=least).conditions
            for a in range(members + 1):
                others = set(range(a, members))
                alone = any(len(each) >= least and len(each & others) == 1 for each in passing)
                shared = conditions.threshold_at(members) < a < members
                exposed = bool(conditions.exposed(members, np.array([a]), np.array([0]))[0])
                # With nobody else there is nothing to learn; "more than t" is said of shares all the same.
                assert exposed == (alone or shared or a == members > conditions.threshold_at(members))

    @pytest.mark.parametrize("check", [NormCheck, RangeCheck])
    def test_nothing_opens_exactly_where_its_conditions_call_a_cluster_lost(
        self, check: type[NormCheck] | type[RangeCheck]
    ) -> None:
        """Of five who share with threshold 1: b Byzantine ones enter what does not pass."""
        words = torch.ones(1, 5, 2, dtype=torch.int64)
        for least in range(1, 6):
            statistic = check(threshold="1", least_passing=least)
            for b in range(5):
                entered = words.clone()
                entered[:, :b] = -(2**63)
                opened = statistic.reference(entered)
                assert opened.kept is not None
                lost = bool(statistic.conditions.lost(5, np.array([b]), np.array([0]))[0])
                assert lost is not bool(opened.kept.any())

    @pytest.mark.parametrize("least", [0, -1])
    def test_at_least_one_has_to_pass(self, least: int) -> None:
        with pytest.raises(CloisterError, match="least_passing"):
            NormCheck(least_passing=least)

    def test_more_than_there_are_cannot_pass(self) -> None:
        with pytest.raises(CloisterError, match=r"least_passing = 4 of 3 members opens nothing; allowed: 1 to 3"):
            NormCheck(least_passing=4).check_size(parties=3)


class TestRangeCheck:
    @pytest.mark.parametrize("bits", [0, 20])
    def test_the_ends_of_the_range_pass_and_one_unit_more_does_not(self, bits: int) -> None:
        """The lower end is the lowest number of so many bits in two's complement, which the upper one is not."""
        limit = RangeCheck(bits=bits).limit(parties=4)
        edge = 1 << limit
        tried = [edge - 1, edge, -edge, -edge - 1, *WRAPPING, 0, 46_341, 65_536]
        words = torch.zeros(len(tried), 4, 3, dtype=torch.int64)
        words[:, 2, 1] = torch.tensor(tried)
        opened = opened_by("range_check", words, bits=bits)
        assert opened.kept is not None
        assert opened.kept[:, 2].tolist() == [-edge <= word < edge for word in tried]
        assert bool(opened.kept[:, [0, 1, 3]].all())
        expected = [[0, word if -edge <= word < edge else 0, 0] for word in tried]
        assert opened.sums.tolist() == expected

    def test_sums_are_those_of_the_integers(self) -> None:
        """At both ends of the widest range, of 3 and 8 members: no sum is beyond +-2^62."""
        for parties in (3, 8):
            edge = 1 << RangeCheck().limit(parties=parties)
            for word in (edge - 1, -edge):
                sums = RangeCheck().reference(torch.full((1, parties, 1), word)).sums
                assert sums.tolist() == [[parties * word]]
                assert abs(parties * word) <= 2**62

    @given(seed=st.integers(0, 2**31), before=st.integers(-(2**15), 2**15 - 1), after=st.integers(-(2**15), 2**15 - 1))
    def test_a_change_of_one_word_changes_the_sum_by_as_much_whatever_the_others_enter(
        self, seed: int, before: int, after: int
    ) -> None:
        """Unless too few pass for anything to open, before and after."""
        rng = torch.Generator().manual_seed(seed)
        words = torch.randint(-(2**63), 2**63 - 1, (4, 5, 2), generator=rng)
        words >>= 48 * torch.randint(0, 2, (4, 5, 1), generator=rng)
        statistic, found = RangeCheck(bits=15, least_passing=3), []
        for word in (before, after):
            words[:, 0] = torch.tensor([word, 7])
            found.append(statistic.reference(words))
        opens = [bool(kept.any()) for kept in found[0].kept]
        assert torch.equal(found[0].kept, found[1].kept)
        moved = (found[1].sums - found[0].sums).tolist()
        assert moved == [[(after - before) * opened, 0] for opened in opens]

    def test_a_range_in_which_sums_wrap_around_is_refused(self) -> None:
        RangeCheck(bits=60).check_size(parties=4)
        with pytest.raises(
            CloisterError, match=r"bits = 60 lets sums of 5 members wrap around; allowed: 1 to 59, or 0"
        ):
            RangeCheck(bits=60).check_size(parties=5)

    def test_nothing_opens_of_fewer_than_have_to_pass(self) -> None:
        words = torch.tensor([[[1], [2], [2**62], [2**62]], [[1], [2], [3], [2**62]]])
        opened = opened_by("range_check", words, least_passing=3)
        assert opened.sums.tolist() == [[0], [6]]
        assert opened.kept is not None
        assert opened.kept.tolist() == [[False] * 4, [True, True, True, False]]


class TestClip:
    def test_a_word_whose_square_wraps_around_counts_as_zero(self) -> None:
        limits = Range.widest(3)
        beyond = [word for word in WRAPPING if not -(1 << limits.bits) <= word < 1 << limits.bits]
        assert len(beyond) > 8
        words = hostile_clusters(beyond)
        honest = words.clone()
        honest[:, 1] = 0
        assert torch.equal(opened_by("clip", words, norm=1.0).sums, Clip(norm=1.0).reference(honest).sums)

    @given(
        length=st.floats(0.0, 2.0**12),
        steps=st.sampled_from([1, 4, 8]),
        coordinates=st.integers(1, 50),
        seed=st.integers(0, 2**31),
    )
    def test_clipped_lengths_are_within_the_promised_bounds(
        self, length: float, steps: int, coordinates: int, seed: int
    ) -> None:
        statistic = Clip(norm=3.0, steps=steps)
        rng = torch.Generator().manual_seed(seed)
        update = torch.randn(1, 1, coordinates, generator=rng, dtype=torch.float64)
        words = statistic.ring.encode(update / update.norm() * length, terms=1)
        own = float(words.double().norm()) / UNIT
        clipped = float(statistic.decode(statistic.reference(words), parties=1).norm())
        unit, most = 1 / UNIT, 3.0 + (math.sqrt(coordinates) / 2 + 1) / UNIT
        # Of float64 sums of squares in this test; and the sum of one is rounded down by less than a unit a coordinate.
        rounding = 1e-9 * max(own, 1.0) + math.sqrt(coordinates) * unit * (own > 3.0)
        assert clipped <= most + rounding
        if own <= 3.0:
            assert clipped == pytest.approx(own, abs=rounding)
        else:
            assert clipped >= min(2 ** (-1 / steps) * 3.0, own) - 2.0**-20 * own - unit - rounding

    def test_updates_whose_clipped_sums_agree_in_whole_units_open_the_same_words(self) -> None:
        """Whatever lies below a unit would tell a clipped update: its factor is public but for a few choices."""
        words = torch.zeros(16, 3, 2, dtype=torch.int64)
        words[:, 0, 0] = 5
        words[:, 1] = torch.tensor([20 * UNIT, -20 * UNIT])
        words[:, 1, 0] += torch.arange(16)
        expected = Clip(norm=1.0, steps=1).reference(words)
        opened = opened_by("clip", words, norm=1.0, steps=1).sums
        assert torch.equal(opened, expected.sums)
        # Scaled down by at least 20, 16 neighbouring updates are in two units at most.
        assert len(opened.unique(dim=0)) <= 2
        assert int(opened[:, 0].max() - opened[:, 0].min()) <= 1

    def test_a_sum_is_rounded_down_once_for_all_members(self) -> None:
        statistic = Clip(norm=1.0, steps=1)
        words = torch.tensor([[[-20 * UNIT + 3], [-20 * UNIT + 3], [7]]])
        one = statistic.reference(words[:, :1]).sums
        assert int(statistic.reference(words).sums - 7) in (2 * int(one), 2 * int(one) + 1)
        assert torch.equal(opened_by("clip", words, norm=1.0, steps=1).sums, statistic.reference(words).sums)

    def test_a_norm_beyond_the_range_is_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"norm = 10000.0 is beyond the range of 100 coordinates"):
            Clip(norm=1e4).cost(parties=3, clusters=1, coordinates=100)


class TestRefusedNorms:
    @pytest.mark.parametrize("statistic", [Clip, NormCheck])
    def test_norms_whose_squares_no_word_holds_are_refused_at_once(self, statistic: type[Clip | NormCheck]) -> None:
        for norm in (1e308, 2.0**15):
            with pytest.raises(CloisterError, match=r"has a square beyond 2\^62 units; allowed: less than 32768"):
                statistic(norm=norm)
        statistic(norm=2.0**15 - 1).check_coordinates(coordinates=1)
        with pytest.raises(CloisterError, match="norm = inf"):
            statistic(norm=math.inf)

    @pytest.mark.parametrize("name", robust_statistics.entries())
    def test_what_fits_can_be_asked_for_before_anything_is_sent(self, name: str) -> None:
        robust_statistics.make(robust_statistics.resolve(name)).check_coordinates(coordinates=10_000)
        if name in ("clip", "norm_check"):
            with pytest.raises(CloisterError, match=r"allowed: .*(smaller norm|fewer coordinates)"):
                robust_statistics.make(robust_statistics.resolve({"name": name, "norm": 200.0})).check_coordinates(
                    coordinates=10**6
                )


class TestCenteredClipping:
    def test_one_iteration_is_the_mean_of_what_clipping_opens_rounded_down(self) -> None:
        words = torch.randint(-(2**20), 2**20, (3, 5, 4), generator=torch.Generator().manual_seed(1))
        clipped = Clip(norm=3.0).reference(words).sums
        assert torch.equal(CenteredClipping(radius=3.0).reference(words).sums, clipped // 5)

    def test_a_word_whose_square_wraps_around_moves_nothing(self) -> None:
        words = hostile_clusters(WRAPPING)
        bound = 1 << Range.widest(3).bits
        words = words[[not -bound <= word < bound for word in WRAPPING]]
        assert len(words) > 8
        opened = opened_by("centered_clipping", words, radius=1.0, iterations=2).sums
        first = CenteredClipping(radius=1.0).reference(words).sums
        # The hostile one is out of range in the second step too, so that the others take it alone.
        others = words[:, [0, 2]] - first[:, None]
        assert torch.equal(opened, first + Clip(norm=1.0).reference(others).sums // 3)

    @given(seed=st.integers(0, 2**31), iterations=st.integers(1, 3))
    def test_the_result_stays_within_the_radius_whatever_members_send(self, seed: int, iterations: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        sizes = torch.randint(0, 63, (4, 5, 6), generator=rng)
        words = torch.randint(-(2**63), 2**63 - 1, (4, 5, 6), generator=rng) >> sizes
        statistic = CenteredClipping(radius=0.01, iterations=iterations)
        moved = statistic.reference(words).sums.double().norm(dim=1)
        assert float(moved.max()) <= iterations * (0.01 * UNIT + 1.5 * math.sqrt(6) + 1)

    def test_byzantine_members_move_a_step_by_their_share_of_the_radius(self) -> None:
        words = torch.randint(-50, 50, (1, 5, 3), generator=torch.Generator().manual_seed(3))
        statistic, results = CenteredClipping(radius=1.0), []
        for word in (2**24, -(2**24)):
            words[0, 4] = torch.tensor([word, 0, 0])
            results.append(statistic.reference(words).sums.double())
        # Two results rounded down differ by less than a unit a coordinate more than what is rounded.
        moved = float((results[0] - results[1]).norm())
        assert 2 / 5 * 2**-0.25 * UNIT - 2 <= moved <= 2 / 5 * (UNIT + math.sqrt(3) / 2 + 1) + math.sqrt(3)

    def test_as_many_sums_as_unknown_inputs_are_not_predicted_private(self) -> None:
        once, twice = (CenteredClipping(iterations=each).conditions for each in (1, 2))
        one, none = np.array([1]), np.array([0])
        assert not once.exposed(3, one, none)
        assert twice.exposed(3, one, none)
        assert not twice.exposed(5, one, none)

    def test_a_radius_beyond_the_range_is_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"norm = 40000\.0"):
            CenteredClipping(radius=40000.0)


class TestKrum:
    def test_a_word_whose_square_wraps_around_is_never_selected(self) -> None:
        words = hostile_clusters(WRAPPING, members=5)
        opened = opened_by("krum", words)
        for sums, updates in zip(opened.sums, words, strict=True):
            assert any(torch.equal(sums, updates[member]) for member in (0, 2, 3, 4))
        everybody_else = words[:, [0, 2, 3, 4]].sum(dim=1)
        assert torch.equal(Krum(selected=4).reference(words).sums, everybody_else)

    def test_of_equal_scores_the_member_with_the_lower_number_is_selected(self) -> None:
        words = torch.zeros(1, 5, 2, dtype=torch.int64)
        words[0, :, 0] = torch.tensor([7, 7, 7, 7, 7])
        words[0, 3, 1] = 1
        opened = opened_by("krum", words)
        assert torch.equal(opened.sums[0], words[0, 0])
        assert Krum(selected=3).reference(words).sums.tolist() == [[21, 0]]

    def test_it_selects_what_a_slow_krum_of_python_integers_selects(self) -> None:
        rng = torch.Generator().manual_seed(5)
        words = torch.randint(-(2**26), 2**26, (20, 7, 3), generator=rng)
        words[::2] >>= 23  # many equal distances
        for tolerate, selected in ((1, 1), (2, 3)):
            opened = Krum(tolerate=tolerate, selected=selected).reference(words)
            for rows, sums in zip(words.tolist(), opened.sums.tolist(), strict=True):
                apart = [[sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]
                scores = [sum(sorted(row[:i] + row[i + 1 :])[: 7 - tolerate - 2]) for i, row in enumerate(apart)]
                best = sorted(range(7), key=lambda i: (scores[i], i))[:selected]
                assert sums == [sum(rows[i][k] for i in best) for k in range(3)]

    def test_too_few_members_are_refused(self) -> None:
        with pytest.raises(CloisterError, match="tolerate = 1, selected = 1 do not fit 4 members"):
            Krum().check_size(parties=4)


class TestNnm:
    def test_a_word_whose_square_wraps_around_leaves_the_result_between_honest_values(self) -> None:
        words = hostile_clusters(WRAPPING, members=5)
        opened = opened_by("nnm", words)
        mixed = Nnm().decode(Opened(sums=opened.sums, contributors=opened.contributors), parties=5)
        honest = words[:, [0, 2, 3, 4]].double() / UNIT
        assert bool((mixed >= honest.amin(dim=1)).all())
        assert bool((mixed <= honest.amax(dim=1)).all())

    def test_members_out_of_range_are_in_no_mixed_update_of_the_others(self) -> None:
        """With as many out of range as are left out, all others mix to the sum of these, and the middle is theirs."""
        words = hostile_clusters(WRAPPING, members=5)
        mixed = words[:, [0, 2, 3, 4]].sum(dim=1)
        assert torch.equal(Nnm().reference(words).sums, 3 * mixed)
        assert torch.equal(opened_by("nnm", words).sums, 3 * mixed)

    def test_it_mixes_as_a_slow_mixing_of_python_integers(self) -> None:
        rng = torch.Generator().manual_seed(6)
        words = torch.randint(-(2**26), 2**26, (20, 5, 3), generator=rng)
        words[::2] >>= 23  # many equal distances
        opened = Nnm(tolerate=1).reference(words)
        for rows, sums in zip(words.tolist(), opened.sums.tolist(), strict=True):
            mixed = []
            for i, own in enumerate(rows):
                apart = {j: sum((x - y) ** 2 for x, y in zip(own, rows[j], strict=True)) for j in range(5) if j != i}
                near = sorted(apart, key=lambda j, apart=apart: (apart[j], j))[:3]
                mixed.append([x + sum(rows[j][k] for j in near) for k, x in enumerate(own)])
            assert sums == [sum(sorted(row[k] for row in mixed)[1:-1]) for k in range(3)]

    def test_too_few_members_are_refused(self) -> None:
        with pytest.raises(CloisterError, match="tolerate = 2 of 4 members is not allowed; allowed: 1 to 1"):
            Nnm(tolerate=2).check_size(parties=4)


class TestPlantedBugs:
    def test_a_skipped_range_check_lets_a_wrapping_square_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def all_in_range(bits: Engine, values: Shared, *_: object) -> Shared:
            return bits.public(torch.ones(*values.shape[:2], 1, 1, dtype=torch.int64))

        monkeypatch.setattr(_scan, "in_range", all_in_range)
        with pytest.raises(AssertionError):
            TestNormCheck().test_a_word_whose_square_wraps_around_is_named_and_moves_nothing()

    def test_a_range_check_that_looks_at_the_first_coordinate_only_is_seen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original: Callable[..., Shared] = _scan.in_range

        def first(bits: Engine, values: Shared, dealt: object, limits: Range) -> Shared:
            rest = values.take(2, [0] * values.shape[2])
            return original(bits, rest, dealt, limits)

        monkeypatch.setattr(_scan, "in_range", first)
        with pytest.raises(AssertionError):
            TestNormCheck().test_a_word_whose_square_wraps_around_is_named_and_moves_nothing()

    def test_both_algebras_are_what_they_say(self) -> None:
        assert BITS.multiply(torch.tensor(6), torch.tensor(3)) == 2
        assert WORDS.multiply(torch.tensor(2**32), torch.tensor(2**32)) == 0
