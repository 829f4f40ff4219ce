"""Every compressor under the conformance kit, planted bugs, and rules on compressed coordinates."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.aggregators import aggregators
from protocols.check import CloisterError
from protocols.compression import Code, Plain, compressors, corrected
from protocols.compression.count_sketch import CountSketch, _Sketch
from protocols.compression.rand_k import RandK, _Kept
from protocols.compression.top_k import TopK, _Largest
from protocols.randomness import public_stream
from protocols.registry import Entry, Spec
from protocols.ring import FixedPoint
from protocols.testing import Check
from protocols.testing import compressors as kit
from protocols.testing.aggregators import make_given, make_points

EXAMPLES = kit.example_specs()


@pytest.mark.parametrize(
    ("spec", "check"),
    [(spec, check) for spec in EXAMPLES for check in kit.conformance_checks(spec)],
    ids=lambda given: str(given) if isinstance(given, Spec) else given.__name__,
)
def test_every_compressor_conforms(spec: Spec, check: Check) -> None:
    check(spec)


def test_every_registered_compressor_is_tried_with_its_defaults() -> None:
    assert {spec.name for spec in EXAMPLES} == set(compressors.entries()) == {"none", "rand_k", "count_sketch", "top_k"}


def spec_of(name: str, **parameters: Any) -> Spec:
    return compressors.resolve({"name": name, **parameters})


def code_of(spec: Spec, d: int, seed: int = 0) -> Code:
    return compressors.make(spec).code(d, public_stream(seed, "test"))


HALF = spec_of("rand_k", k=0.5)
FED_BACK = spec_of("rand_k", k=0.5, unbiased=False, error_feedback=True)
SKETCH = spec_of("count_sketch", k=0.5)
LARGEST = spec_of("top_k", k=0.5)

sent, back, sketched = _Kept.compress, _Kept.decompress, _Sketch.compress


def scaled_in_place(code: _Kept, rows: Tensor) -> Tensor:
    return back(code, rows.mul_(2.0))


def drawn_globally(compressor: RandK, d: int, rng: np.random.Generator) -> Code:
    return compressor._kept(d, torch.randperm(d)[: compressor.coordinates(d)].sort().values)


def drawn_twice(compressor: RandK, d: int, rng: np.random.Generator) -> Code:
    return compressor._kept(d, torch.from_numpy(np.sort(rng.integers(0, d, compressor.coordinates(d)))))


def rarely_others(compressor: RandK, d: int, rng: np.random.Generator) -> Code:
    """The first k coordinates in half of the draws."""
    k = compressor.coordinates(d)
    kept = np.arange(k) if rng.random() < 0.5 else np.sort(rng.choice(d, k, replace=False))
    return compressor._kept(d, torch.from_numpy(kept))


def smallest(code: _Largest, updates: Tensor) -> Tensor:
    places = updates.abs().topk(code.count, dim=1, largest=False).indices
    return torch.cat([updates.gather(1, places), places.to(updates.dtype)], dim=1)


def signless(code: _Sketch, updates: Tensor) -> Tensor:
    return sketched(dataclasses.replace(code, signs=code.signs.abs()), updates)


def half_forgotten(code: Code, updates: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    whole, left = corrected(code, updates, errors)
    return whole, left / 2


def unscaled(compressor: RandK, dimension: int, kept: Tensor) -> Code:
    return _Kept(dimension=dimension, kept=kept, scale=1.0)


def scaled(compressor: RandK, dimension: int, kept: Tensor) -> Code:
    return _Kept(dimension=dimension, kept=kept, scale=dimension / len(kept))


BUGS: list[tuple[str, Spec, Any, str, Any, Check]] = [
    ("no check", HALF, RandK, "__post_init__", lambda self: None, kit.refuses_shares_that_make_no_sense),
    (
        "a word less",
        HALF,
        _Kept,
        "compress",
        lambda c, x: sent(c, x)[:, 1:],
        kit.sends_as_many_words_as_it_says,
    ),
    ("fits all", LARGEST, TopK, "unfit", lambda self, d: None, kit.sends_as_many_words_as_it_says),
    (
        "many tables fit",
        spec_of("count_sketch", k=0.5, tables=3),
        CountSketch,
        "unfit",
        lambda self, d: None,
        kit.sends_as_many_words_as_it_says,
    ),
    (
        "doubles",
        LARGEST,
        _Largest,
        "compress",
        lambda c, x: smallest(c, x.double()),
        kit.sends_as_many_words_as_it_says,
    ),
    ("elsewhere", HALF, _Kept, "compress", lambda c, x: torch.zeros(3, len(c.kept)), kit.works_where_its_rows_are),
    ("in place", HALF, _Kept, "decompress", scaled_in_place, kit.leaves_its_inputs_alone),
    ("global state", HALF, RandK, "code", drawn_globally, kit.draws_equal_codes_from_equal_streams),
    ("one set more often", HALF, RandK, "code", rarely_others, kit.draws_every_code_equally_often),
    ("with replacement", HALF, RandK, "code", drawn_twice, kit.draws_every_code_equally_often),
    (
        "centred",
        HALF,
        _Kept,
        "compress",
        lambda c, x: sent(c, x - x.mean(dim=0)),
        kit.compresses_each_row_alone,
    ),
    (
        "centred afterwards",
        HALF,
        _Kept,
        "decompress",
        lambda c, rows: back(c, rows - rows.mean(dim=0)),
        kit.decompresses_each_row_alone,
    ),
    ("rounds", HALF, _Kept, "compress", lambda c, x: sent(c, x // 2), kit.says_whether_it_is_linear),
    ("too modest", HALF, RandK, "linear", False, kit.says_whether_it_is_linear),
    ("the smallest", LARGEST, _Largest, "compress", smallest, kit.contracts_as_it_says),
    ("scaled and fed back", FED_BACK, RandK, "_kept", scaled, kit.contracts_as_it_says),
    ("proves nothing", LARGEST, TopK, "contraction", lambda self, d: None, kit.contracts_as_it_says),
    ("not scaled", HALF, RandK, "_kept", unscaled, kit.is_right_on_average),
    ("no signs", SKETCH, _Sketch, "compress", signless, kit.is_right_on_average),
    (
        "scaled when sent",
        HALF,
        _Kept,
        "compress",
        lambda c, x: sent(c, x) * c.scale,
        kit.lengthens_no_row_beyond_its_gain,
    ),
    ("forgets", FED_BACK, kit, "corrected", half_forgotten, kit.gives_back_all_that_it_left_out),
]


class TestTheKitSeesPlantedBugs:
    @pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug[0])
    def test_in_a_compressor(self, monkeypatch: pytest.MonkeyPatch, bug: Any) -> None:
        _, spec, owner, name, planted, check = bug
        assert check in kit.conformance_checks(spec)
        monkeypatch.setattr(owner, name, planted)
        with pytest.raises(AssertionError):
            check(spec)

    def test_in_every_check_but_the_first(self) -> None:
        """The first one has twins of its own, in the other kits."""
        checks = {check for spec in EXAMPLES for check in kit.conformance_checks(spec)}
        assert checks - {bug[-1] for bug in BUGS} == {kit.is_a_documented_frozen_dataclass}

    def test_in_another_class(self, monkeypatch: pytest.MonkeyPatch) -> None:
        @dataclass
        class Mutable:
            """A compressor that can be changed after it was made."""

        entry = compressors.entry("rand_k")
        monkeypatch.setitem(compressors._entries, "rand_k", Entry(**{**entry.__dict__, "factory": Mutable}))
        with pytest.raises(AssertionError):
            kit.is_a_documented_frozen_dataclass(Spec(name="rand_k"))


def test_error_feedback_with_a_scaled_mask_is_refused() -> None:
    with pytest.raises(CloisterError, match="diverges"):
        spec_of("rand_k", error_feedback=True)


def test_top_k_sends_the_nearest_of_all_sets_of_as_many_coordinates() -> None:
    """Exactly, against all sets of two of five coordinates; ties included."""
    spec = spec_of("top_k", k=0.4)
    rows = torch.from_numpy(public_stream(0, "ties").integers(-3, 4, size=(200, 5)).astype(np.float64))
    code = code_of(spec, 5)
    ours = (code.decompress(code.compress(rows)) - rows).square().sum(dim=1)
    masks = list(compressors.make(spec_of("rand_k", k=0.4, unbiased=False)).codes(5))
    best = torch.stack([(mask.decompress(mask.compress(rows)) - rows).square().sum(dim=1) for mask in masks]).amin(
        dim=0
    )
    assert len(masks) == math.comb(5, 2)
    assert torch.equal(ours, best)


def test_without_a_compressor_what_comes_out_is_what_went_in() -> None:
    rows = torch.tensor([[math.nan, -0.0, 1e-300], [math.inf, 1.5, -2.0]], dtype=torch.float64)
    code = code_of(spec_of("none"), 3)
    assert torch.equal(code.decompress(code.compress(rows)).view(torch.int64), rows.view(torch.int64))
    assert isinstance(code, Plain)


def test_numbers_of_coordinates_that_float32_does_not_have_are_refused() -> None:
    code = code_of(spec_of("top_k", k=1e-7), 2**24 + 1)
    with pytest.raises(CloisterError, match=r"16777217 coordinates.*float32"):
        code.compress(torch.zeros(1, 2**24 + 1, device="meta"))


def test_a_hostile_message_of_top_k_points_somewhere_in_the_update() -> None:
    """Numbers of coordinates that there are not, or that are no numbers, stop nobody."""
    code = code_of(spec_of("top_k", k=0.5), 4)
    numbers = [math.nan, math.inf, -math.inf, 1e300, -5.0, 3.4]
    rows = torch.tensor([[1.0, 2.0, number, 0.0] for number in numbers], dtype=torch.float64)
    found = code.decompress(rows)
    assert torch.equal(found.sum(dim=1), torch.full((6,), 3.0, dtype=torch.float64))
    assert torch.equal(found[5], torch.tensor([2.0, 0, 0, 1.0], dtype=torch.float64))


class TestCountSketches:
    @pytest.mark.parametrize(
        ("k", "tables", "d", "why"),
        [
            (0.1, 65, 650, None),
            (0.1, 66, 650, "tables = 66 has more than 65 = k x d buckets; allowed: up to 65"),
            (0.1, 1000, 650, "tables = 1000 has more than 65"),
            (0.001, 1, 650, None),
            (0.001, 2, 650, "tables = 2 has more than 1"),
            (1.0, 1, 650, "k = 1.0 sends 650 words for 650 coordinates"),
            (0.5, 1, 1, "sends 1 words for 1"),
            (0.99, 3, 650, None),
            (0.98, 50, 650, "k = 0.98 sends 650 words for 650 coordinates"),
        ],
    )
    def test_one_that_saves_less_than_it_says_does_not_fit(
        self, k: float, tables: int, d: int, why: str | None
    ) -> None:
        said = compressors.make(spec_of("count_sketch", k=k, tables=tables)).unfit(d)
        assert said is None if why is None else why in str(said)

    def test_heavy_coordinates_come_back_exactly_from_a_sketch_without_collisions(self) -> None:
        """Two of 400 coordinates in 5 tables of 40 buckets: the median is wrong only if three tables mix them up.

        That has probability 10 / 40^3, and the stream is fixed.
        """
        code = code_of(spec_of("count_sketch", k=0.5, tables=5, top=0.005), 400)
        row = torch.zeros(1, 400, dtype=torch.float64)
        row[0, [17, 301]] = torch.tensor([5.0, -7.0], dtype=torch.float64)
        assert torch.equal(code.decompress(code.compress(row)), row)

    def test_the_estimate_is_the_median_of_the_tables(self) -> None:
        """Three tables that map both coordinates to one bucket: the sums are a + b, a - b and a + b."""
        signs = torch.tensor([[1, 1], [1, -1], [-1, -1]])
        code = _Sketch(width=1, buckets=torch.zeros(3, 2, dtype=torch.int64), signs=signs, decoded=2)
        sketch = code.compress(torch.tensor([[10.0, 1.0]]))
        assert sketch.tolist() == [[11.0, 9.0, -11.0]]
        assert code.decompress(sketch).tolist() == [[11.0, 11.0]]


@given(seed=st.integers(0, 2**32), d=st.integers(1, 40), parties=st.integers(1, 6), bits=st.sampled_from([0, 8, 16]))
def test_a_shared_mask_commutes_with_the_whole_secure_sum(seed: int, d: int, parties: int, bits: int) -> None:
    """Encoding, adding and decoding the compressed updates gives the compressed sum, to the last digit."""
    ring, code = FixedPoint(fraction_bits=bits), code_of(spec_of("rand_k", k=0.3), d, seed)
    updates = torch.from_numpy(public_stream(seed, "updates").normal(0, 100, size=(parties, d)))
    words = ring.encode(updates, terms=parties)
    sent = ring.encode(code.compress(updates), terms=parties)
    assert torch.equal(ring.decode(sent.sum(dim=0)), code.compress(ring.decode(words.sum(dim=0, keepdim=True)))[0])


# What a tainted row holds in the coordinates that are kept; in the others nobody sees it.
POISONS = (math.nan, math.inf, 1e30, -1e9, 40.0)


def rules() -> dict[str, Entry]:
    return aggregators.entries()


@pytest.mark.parametrize("name", sorted(rules()))
@pytest.mark.parametrize("compression", [HALF, SKETCH], ids=str)
def test_rules_on_compressed_rows_stay_near_the_honest_compressed_rows(name: str, compression: Spec) -> None:
    """Finite whatever `tolerate` rows hold, and for rules with a coefficient within it of the honest compressed rows.

    Nothing about the rows that are not compressed is used: the rule's promise holds for any rows, so for these.
    """
    rule = aggregators.make(aggregators.resolve(name))
    m, d = 9, 12
    honest_updates, sizes = make_points(m, d)
    code, tolerate = code_of(compression, d), rule.breakdown(m)
    for poison in POISONS:
        updates = honest_updates.clone()
        updates[:tolerate] = poison
        rows = code.compress(updates)
        honest = rows[tolerate:]
        found = rule(rows, sizes, tolerate, make_given(honest, history=code.compress(honest_updates)))
        assert found.shape == (compressors.make(compression).coordinates(d),)
        assert_near_honest(rule.coefficient(sizes, tolerate), found, honest)


def assert_near_honest(coefficient: float, found: Tensor, honest: Tensor) -> None:
    assert bool(torch.isfinite(found).all()), "the result is not finite"
    if math.isfinite(coefficient):
        centre = honest.mean(dim=0)
        variance = float((honest - centre).square().sum(dim=1).mean())
        # Rounding, as in within_coefficient: 1e-6 of the bound.
        assert float((found - centre).square().sum()) <= coefficient * variance * (1 + 1e-6) + 1e-12, "too far away"


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
@given(seed=st.integers(0, 2**32), poison=st.sampled_from(POISONS))
def test_of_coordinatewise_rules_the_result_lies_between_the_honest_compressed_rows(
    name: str, seed: int, poison: float
) -> None:
    """In every coordinate, exactly: not a rounding beyond the smallest and the largest honest one."""
    rule = aggregators.make(aggregators.resolve(name))
    honest, _ = make_points(6, 20, seed=seed)
    code = code_of(HALF, 20, seed)
    rows = code.compress(torch.cat([torch.full((4, 20), poison, dtype=torch.float64), honest]))
    found = rule(rows, torch.ones(10, dtype=torch.int64), 4)
    packed = code.compress(honest)
    slack = 1e-15 * packed.abs().amax(dim=0)  # a mean of numbers, rounded, may leave their range by an ulp
    assert bool((found >= packed.amin(dim=0) - slack).all())
    assert bool((found <= packed.amax(dim=0) + slack).all())


@given(seed=st.integers(0, 2**32))
def test_a_mask_commutes_with_coordinatewise_rules(seed: int) -> None:
    """What such a rule makes of kept coordinates is what is kept of its result: to the last digit."""
    means, sizes = make_points(9, 20, seed=seed)
    code = code_of(HALF, 20, seed)
    for name in ("median", "trimmed_mean", "meamed"):
        rule = aggregators.make(aggregators.resolve(name))
        whole = rule(means, sizes, 3)[None]
        assert torch.equal(rule(code.compress(means), sizes, 3), code.compress(whole)[0]), name


class TestNegativeTwinsOfTheRules:
    def test_the_mean_leaves_the_honest_rows(self) -> None:
        honest, _ = make_points(9, 12)
        rows = code_of(HALF, 12).compress(torch.cat([torch.full((1, 12), 1e9, dtype=torch.float64), honest]))
        with pytest.raises(AssertionError, match="too far"):
            assert_near_honest(1.0, rows.mean(dim=0), rows[1:])

    def test_a_rule_that_counts_distances_does_not_commute_with_a_mask(self) -> None:
        """Krum picks by distances in the kept coordinates, which are others than in all."""
        rule = aggregators.make(aggregators.resolve("krum"))
        differs = 0
        for seed in range(20):
            means, sizes = make_points(9, 20, seed=seed)
            code = code_of(HALF, 20, seed)
            whole = rule(means, sizes, 2)[None]
            differs += not torch.equal(rule(code.compress(means), sizes, 2), code.compress(whole)[0])
        assert differs > 5
