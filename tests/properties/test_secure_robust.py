"""Robust statistics on shared values: exact words, exact costs, the honest hull, and nothing else opened."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.aggregators.sign_majority import SignMajority as PlainSignMajority
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.network import BOARD
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.playable import cluster_protocols, playable, robust_of
from protocols.registry import Spec
from protocols.secure_robust import _middle, _scan, _waves, robust_statistics
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust.median import Median
from protocols.secure_robust.sign_majority import SignMajority
from protocols.secure_robust.trimmed_mean import TrimmedMean
from protocols.secure_sum import secure_sums

SPECS = [
    robust_statistics.resolve({"name": entry.name, **dict(example)})
    for entry in robust_statistics.entries().values()
    for example in entry.examples
]
HOSTILE = (2**63 - 1, -(2**63), 2**47, -(2**47), 46_341 << 16, 65_536 << 16, 1, 0, -1)
"""Words at which comparisons of differences, squares and sums wrap around."""


def label(spec: Spec) -> str:
    changed = {k: v for k, v in spec.parameters if v != robust_statistics.entry(spec.name).defaults[k]}
    return str(Spec(name=spec.name, parameters=tuple(changed.items())))


def sizes_of(spec: Spec, sizes: tuple[int, ...]) -> list[int]:
    """The sizes of clusters that can run it."""
    fitting = []
    for parties in sizes:
        try:
            playable(spec).check_size(parties=parties)
        except CloisterError:
            continue
        fitting.append(parties)
    return fitting


def words_of(spec: Spec, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Words of all sizes, some equal, of the statistic's ring; two members in three send none that is hostile."""
    rng = torch.Generator().manual_seed(seed)
    words = torch.randint(-(2**63), 2**63 - 1, shape, generator=rng) >> torch.randint(46, 62, shape, generator=rng)
    hostile = torch.tensor(HOSTILE)[torch.randint(0, len(HOSTILE), shape, generator=rng)]
    sent = (torch.rand(shape, generator=rng) < 0.2) & (torch.rand(*shape[:2], 1, generator=rng) < 1 / 3)
    return robust_statistics.make(spec).ring.wrap(torch.where(sent, hostile, words))


def opened_by_threads(spec: Spec, words: Tensor) -> OpenedSums:
    return InProcessParties(words.shape[1]).open_sums(spec, words)


def assert_is_the_reference(spec: Spec, words: Tensor, opened: OpenedSums) -> None:
    expected = robust_statistics.make(spec).reference(words)
    assert torch.equal(opened.sums, expected.sums), f"{spec} of {words.tolist()}"
    assert opened.contributors == expected.contributors
    assert (opened.kept is None) == (expected.kept is None)
    assert opened.kept is None or (expected.kept is not None and torch.equal(opened.kept, expected.kept))


def assert_costs_what_it_says(spec: Spec, words: Tensor, opened: OpenedSums) -> None:
    clusters, parties, coordinates = words.shape
    statistic = robust_statistics.make(spec)
    assert opened.traffic == statistic.cost(parties=parties, clusters=clusters, coordinates=coordinates)


@pytest.mark.parametrize("spec", SPECS, ids=label)
@settings(max_examples=max(3, settings.default.max_examples // 4))
@given(data=st.data())
def test_the_opened_words_are_the_references_and_the_cost_is_the_meters(spec: Spec, data: st.DataObject) -> None:
    # The geometric median takes hundreds of rounds; party processes run it with five members below.
    tried = (3, 4) if spec.name == "geometric_median" else (3, 4, 5, 6)
    parties = data.draw(st.sampled_from(sizes_of(spec, tried)))
    shape = (data.draw(st.integers(1, 2)), parties, data.draw(st.sampled_from([1, 2, 63, 64, 65, 130])))
    words = words_of(spec, shape, data.draw(st.integers(0, 2**31)))
    opened = opened_by_threads(spec, words)
    assert_is_the_reference(spec, words, opened)
    assert_costs_what_it_says(spec, words, opened)


@pytest.mark.parametrize("name", robust_statistics.entries())
def test_party_processes_open_the_same_words_at_the_same_cost(pool: PartyPool, name: str) -> None:
    spec = robust_statistics.resolve(name)
    words = words_of(spec, (2, 5, 70), 1)
    opened = pool.open_sums(spec, words)
    assert_is_the_reference(spec, words, opened)
    assert_costs_what_it_says(spec, words, opened)


@pytest.mark.parametrize(("members", "threshold"), [(12, 4), (16, 2)])
def test_by_default_clusters_run_whose_largest_threshold_would_need_too_many_masks(
    members: int, threshold: int
) -> None:
    spec = robust_statistics.resolve("sign_majority")
    words = words_of(spec, (1, members, 2), 9)
    opened = opened_by_threads(spec, words)
    assert_is_the_reference(spec, words, opened)
    assert_costs_what_it_says(spec, words, opened)
    assert robust_statistics.make(spec).conditions.threshold_at(members) == threshold
    with pytest.raises(CloisterError, match=f"allowed: 500 sets; lower the threshold to {threshold}"):
        Median(threshold="c/2").check_size(parties=members)


COMPARED: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "median": ({}, 10 * 128),
    "trimmed_mean": ({"trim": 2}, 10 * 128),
    "sign_majority": ({}, 2 * 128),
    # 5 members' 100 coordinates and, in one word, their lengths
    "norm_check": ({}, 5 * 128 + 64),
    "range_check": ({}, 5 * 128),
    # as many; then of 4 others' distances all pairs and the places, and the same of 5 members' scores
    "krum": ({}, 5 * 128 + (6 + 4) * 64 + (10 + 5) * 64),
    # distances as for krum; then all pairs of the mixed updates
    "nnm": ({}, 5 * 128 + (6 + 4) * 64 + 10 * 128),
}
"""Of five members' 100 coordinates, in two words of 64 lanes: each pair, each range and each length once."""


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons_are_counted_once_for_all_parties(name: str) -> None:
    parameters, compared = COMPARED[name]
    spec = robust_statistics.resolve({"name": name, **parameters})
    assert robust_statistics.make(spec).cost(parties=5, clusters=1, coordinates=100).mpc.comparisons == compared
    assert robust_statistics.make(spec).cost(parties=5, clusters=3, coordinates=100).comparisons > compared


def test_eight_members_open_the_same_words_at_the_same_cost() -> None:
    spec = robust_statistics.resolve({"name": "median", "bits": 16, "fraction_bits": 8})
    words = words_of(spec, (1, 8, 65), 2)
    opened = opened_by_threads(spec, words)
    assert_is_the_reference(spec, words, opened)
    assert_costs_what_it_says(spec, words, opened)


@pytest.mark.parametrize("name", robust_statistics.entries())
def test_waves_change_neither_the_words_nor_the_formula_and_more_of_them_take_no_more_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counting allocator: beside what is as large as the inputs or the result, no wave is larger than another."""
    monkeypatch.setattr(_waves, "_WAVE_WORDS", 1)
    spec = smallest(name)
    assert largest_of_a_wave(spec, 192, monkeypatch) == largest_of_a_wave(spec, 128, monkeypatch)


def test_a_statistic_without_waves_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scan, "waves", lambda access, *, clusters, coordinates, live: [(0, coordinates)])
    monkeypatch.setattr(_waves, "_WAVE_WORDS", 1)
    spec = smallest("norm_check")
    assert largest_of_a_wave(spec, 192, monkeypatch) > largest_of_a_wave(spec, 128, monkeypatch)


def smallest(name: str) -> Spec:
    """The statistic, where it is told how many to tolerate as it runs in clusters of three."""
    return robust_statistics.resolve({"name": "krum", "tolerate": 0} if name == "krum" else name)


def largest_of_a_wave(spec: Spec, coordinates: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of all shared values that a run makes but the shared inputs, whole or a wave of them, how many words the largest
    has in all its parts. The run opens what it should, for what it should cost."""
    sizes, original = set[int](), Shared.__init__
    words = words_of(spec, (1, 3, coordinates), 8)

    def counting(self: Shared, *, parts: Tensor) -> None:
        if sys._getframe(1).f_code.co_name not in ("share_inputs", "narrow"):
            sizes.add(parts.numel())
        original(self, parts=parts)

    with monkeypatch.context() as patch:
        patch.setattr(Shared, "__init__", counting)
        opened = opened_by_threads(spec, words)
    assert_is_the_reference(spec, words, opened)
    assert_costs_what_it_says(spec, words, opened)
    return max(sizes)


@pytest.mark.parametrize("name", robust_statistics.entries())
def test_number_size_and_order_of_messages_do_not_depend_on_the_inputs(name: str) -> None:
    spec = robust_statistics.resolve(name)

    parties = sizes_of(spec, (3, 4, 5))[0]

    def shapes(words: Tensor) -> dict[int, list[Any]]:
        threads = InProcessParties(parties)
        threads.open_sums(spec, words)
        return {
            rank: [(message.sender, message.header, tuple(message.payload.shape)) for message in received]
            for rank, received in threads.transcripts.items()
        }

    assert shapes(words_of(spec, (1, parties, 3), 4)) == shapes(torch.zeros(1, parties, 3, dtype=torch.int64))


@pytest.mark.parametrize("name", robust_statistics.entries())
def test_all_that_the_board_reads_is_the_result(name: str) -> None:
    spec = robust_statistics.resolve(name)
    parties = sizes_of(spec, (3, 4, 5))[0]
    threads = InProcessParties(parties)
    opened = threads.open_sums(spec, words_of(spec, (1, parties, 5), 5))
    heard = [message for message in threads.transcripts[BOARD] if message.payload.dtype == torch.int64]
    assert len(heard) == 1
    assert torch.equal(heard[0].payload[:, :5], opened.sums)
    kept = torch.zeros(1, 0) if opened.kept is None else opened.kept
    assert heard[0].payload[:, 5:].tolist() == kept.long().tolist()


HULLS: Mapping[str, Mapping[str, Any]] = {"median": {}, "trimmed_mean": {"trim": 2}}


@pytest.mark.parametrize("name", HULLS)
@settings(max_examples=max(3, settings.default.max_examples // 4))
@given(seed=st.integers(0, 2**31))
def test_each_coordinate_lies_between_honest_values_whatever_two_of_five_send(name: str, seed: int) -> None:
    statistic = robust_statistics.make(robust_statistics.resolve({"name": name, **HULLS[name]}))
    assert statistic.breakdown(5) == 2
    words = words_of(robust_statistics.resolve(name), (1, 5, 64), seed)
    words[:, :3] >>= 20  # honest values, far from the ends of the ring
    opened = opened_by_threads(robust_statistics.resolve({"name": name, **HULLS[name]}), words)
    decoded = robust_statistics.make(robust_statistics.resolve(name)).ring.decode(opened.sums)
    honest = words[:, :3].double() * 2.0**-16
    assert bool((decoded >= honest.amin(dim=1)).all())
    assert bool((decoded <= honest.amax(dim=1)).all())


def test_the_nonzero_sign_that_all_honest_members_have_is_the_majority_sign() -> None:
    words = torch.tensor([[[5, -5]] * 3 + [[-(2**63), 2**63 - 1]] * 2])
    opened = opened_by_threads(robust_statistics.resolve("sign_majority"), words)
    assert opened.sums.tolist() == [[1, -1]]
    assert opened_by_threads(robust_statistics.resolve("sign_majority"), words[:, 1:]).sums.tolist() == [[0, 0]]


@given(seed=st.integers(0, 2**31), members=st.sampled_from([3, 4, 5]), step=st.sampled_from([0.01, 0.1, 3.0]))
def test_what_a_majority_of_signs_stands_for_is_the_step_of_the_rule_of_this_name(
    seed: int, members: int, step: float
) -> None:
    """Bit for bit, on updates in units of the ring: zeros, ties and steps that are no binary fractions among them."""
    statistic, rule = SignMajority(step=step), PlainSignMajority(step=step)
    units = torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, size=(members, 40)))
    means, sizes = units.double() * statistic.ring.unit, torch.ones(members, dtype=torch.int64)
    found = statistic.decode(statistic.reference(units[None]), parties=members)[0]
    assert torch.equal(found, rule(means, sizes, 0))
    assert SignMajority().step == PlainSignMajority().step


@pytest.mark.parametrize("step", [0.0, -0.01, float("nan"), float("inf")])
def test_a_step_that_goes_nowhere_is_refused(step: float) -> None:
    with pytest.raises(CloisterError, match="step"):
        SignMajority(step=step)


def test_where_honest_members_abstain_one_vote_decides_and_no_number_of_them_is_withstood() -> None:
    words = torch.tensor([[[0, 0]] * 4 + [[7, -7]]])
    opened = opened_by_threads(robust_statistics.resolve("sign_majority"), words)
    assert opened.sums.tolist() == [[1, -1]]
    assert SignMajority().breakdown(5) == 0
    assert SignMajority().conditions.tainted(5, np.array([1]), np.array([0])).all()


@pytest.mark.parametrize(("statistic", "members", "kept"), [(Median, 4, 2), (Median, 5, 1), (TrimmedMean, 5, 3)])
def test_kept_values_wrap_around_beyond_the_promised_words_only(statistic: Any, members: int, kept: int) -> None:
    chosen = statistic(bits=16, fraction_bits=8)
    most = (2**15 - 1) // kept
    for word, between in ((most, True), (-most, True), (most + 1, False)):
        words = chosen.ring.wrap(torch.full((1, members, 1), word))
        estimate = chosen.decode(chosen.reference(words), parties=members)
        assert (float(estimate) == pytest.approx(word / 2**8)) is between
    assert chosen.ring.largest_word(kept) == most  # so what is encoded for so many terms keeps the promise


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    statistic = Median()
    opened = statistic.reference(torch.tensor([[[1 << 16], [4 << 16], [2 << 16], [100 << 16]]]))
    assert statistic.decode(opened, parties=4).tolist() == [[3.0]]
    assert TrimmedMean().decode(opened, parties=4).tolist() == [[3.0]]


class TestRefusals:
    @pytest.mark.parametrize("name", robust_statistics.entries())
    def test_two_members_have_no_honest_majority(self, name: str) -> None:
        with pytest.raises(CloisterError, match=r"2 members has no honest majority.* allowed: 3 members or more"):
            InProcessParties(2).open_sums(robust_statistics.resolve(name), torch.zeros(1, 2, 1, dtype=torch.int64))

    def test_a_trim_that_leaves_nothing(self) -> None:
        with pytest.raises(CloisterError, match=r"trim = 2 .* leaves nothing of 4 members; allowed: 1 to 1"):
            TrimmedMean(trim=2).check_size(parties=4)
        with pytest.raises(CloisterError, match="trim = 0"):
            TrimmedMean(trim=0)

    def test_a_name_of_both_kinds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secure_sums, "entries", lambda: {"median": None})
        for ask in (playable, robust_of):
            with pytest.raises(CloisterError, match="'median' is a protocol and a robust statistic"):
                ask(robust_statistics.resolve("median"))

    @pytest.mark.parametrize("config", [[], ["median"], {"name": ["median"]}, {"name": {}}, {}, None, 3])
    def test_what_is_no_name(self, config: object) -> None:
        with pytest.raises(CloisterError, match="allowed: a name"):
            cluster_protocols.resolve(config)

    def test_more_members_than_any_masks_are_made_for(self) -> None:
        with pytest.raises(CloisterError, match=r"threshold = 1 of 501 parties .* 501 sets; .* form smaller clusters"):
            Median().check_size(parties=501)

    def test_a_threshold_of_half(self) -> None:
        with pytest.raises(CloisterError, match="threshold = 2 of 4 parties is not allowed"):
            Median(threshold="2").check_size(parties=4)


class TestPlantedBugs:
    """Each makes a test above fail."""

    def test_unsigned_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_middle, "places_of", lambda engine, values: _places(engine, values, flip_back=True))
        spec = robust_statistics.resolve("median")
        words = words_of(spec, (1, 3, 64), 6)
        with pytest.raises(AssertionError):
            assert_is_the_reference(spec, words, opened_by_threads(spec, words))

    def test_an_opening_that_the_formula_forgets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = Engine.reveal_products

        def twice(self: Engine, *pairs: tuple[Shared, Shared], fold: int | None = None) -> Tensor:
            original(self, *pairs, fold=fold)
            return original(self, *pairs, fold=fold)

        monkeypatch.setattr(Engine, "reveal_products", twice)
        spec = robust_statistics.resolve("median")
        words = words_of(spec, (1, 3, 1), 7)
        with pytest.raises(AssertionError):
            assert_costs_what_it_says(spec, words, opened_by_threads(spec, words))

    def test_a_comparison_that_nobody_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Engine, "compared", lambda self, words: None)
        spec = robust_statistics.resolve("median")
        words = words_of(spec, (1, 3, 1), 7)
        with pytest.raises(AssertionError, match="comparisons=0"):
            assert_costs_what_it_says(spec, words, opened_by_threads(spec, words))


def _places(engine: Engine, values: Shared, *, flip_back: bool) -> Shared:
    from protocols.secure_robust._ranking import places_of

    top = torch.zeros(values.shape[2], 1, dtype=torch.int64)
    top[-1] = -1 if flip_back else 0
    return places_of(engine, engine.add_public(values, top))
