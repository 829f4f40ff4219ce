"""Compression in rounds: what is sent, what the rule and the server make of it, what it costs, what is refused."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import attacks
from attacks.api import OwnView, look
from attacks.testing import make_world
from bench.cell import Cell
from bench.compressing import code_of, with_memory
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.opening import Opened
from bench.outcome import Decision
from bench.round import _moved, _train, run_round
from bench.setting import Federation
from protocols.aggregators import NOTHING, aggregators
from protocols.compression import PLAIN, Code, compressors
from protocols.in_process import InProcessParties
from protocols.playable import playable
from protocols.randomness import public_stream
from protocols.types import Traffic
from tests.rounds import cell_with, start

SKETCH = {"name": "count_sketch", "k": 0.5, "tables": 3, "top": 0.02}
FED_BACK = {"name": "rand_k", "k": 0.25, "unbiased": False, "error_feedback": True}
NOBODY = Opened(numbers=[], means=torch.zeros(0, 650), contributors=[], exact=[], traffic=Traffic.none())
SINGLE: dict[str, Any] = {"clustering": "singletons", "protocol": "plaintext"}


def one_cell(compression: object = "rand_k", **axes: Any) -> Cell:
    return cell_with(**{"n": 9, "f": 0, "cluster_size": 3, "compression": compression, **axes})


def federation_of(digits: Dataset, compression: object = "rand_k", round_index: int = 0, **axes: Any) -> Federation:
    federation = build(one_cell(compression, **axes), digits)
    return dataclasses.replace(federation, code=code_of(federation, round_index))


def rows_of(federation: Federation, seed: int = 0) -> Tensor:
    rng = public_stream(seed, "updates")
    whole = rng.integers(-9, 10, size=(federation.data.n, federation.network.dimension))
    return torch.from_numpy(whole.astype(np.float64))


class TestRounds:
    def test_a_mask_of_all_coordinates_changes_nothing(self, digits: Dataset, parties: InProcessParties) -> None:
        """The same model, to the last digit, the same bytes and the same verdicts, after two rounds."""
        results = [
            run_cell(one_cell(name, aggregator="trimmed_mean", f=1, attack="alie"), digits, parties)
            for name in ("none", {"name": "rand_k", "k": 1.0})
        ]
        first, second = ({**result.metrics, "runtime_s": 0, "train_s": 0, "mpc_s": 0} for result in results)
        assert first == second
        assert first["coordinates"] == first["parameters"] == 650

    def test_half_a_mask_does_change_the_model(self, digits: Dataset, parties: InProcessParties) -> None:
        losses = [
            run_cell(one_cell({"name": "rand_k", "k": k}), digits, parties).metrics["loss"] for k in (0.5, 0.4, 1.0)
        ]
        assert len(set(losses)) == 3

    @pytest.mark.parametrize("compression", ["rand_k", SKETCH, {"name": "count_sketch", "k": 0.2}])
    def test_a_sum_costs_what_it_costs_for_as_many_coordinates(
        self, digits: Dataset, parties: InProcessParties, compression: object
    ) -> None:
        cell = one_cell(compression)
        coordinates = compressors.make(cell.compression).coordinates(650)
        metrics = run_cell(cell, digits, parties).metrics
        cost = playable(cell.protocol).cost(parties=3, clusters=3, coordinates=coordinates)
        assert metrics["bytes_total"] == cell.rounds * cost.wire_bytes
        assert metrics["coordinates"] == coordinates < 650

    def test_every_round_has_a_mask_of_its_own_and_the_sketch_has_one_for_all(self, digits: Dataset) -> None:
        for compression, same in (("rand_k", False), (SKETCH, True)):
            first, second = (federation_of(digits, compression, turn).code for turn in (0, 1))
            rows = torch.arange(650, dtype=torch.float64)[None]
            assert torch.equal(first.compress(rows), second.compress(rows)) is same

    def test_the_step_is_what_the_server_decodes_of_the_mean(self, digits: Dataset, parties: InProcessParties) -> None:
        """Of 9 updates of singletons under the mean: each number is off by half a unit at most, times d / k = 2.

        And the model is float32: its step is off by 2^-24 of numbers below 1.
        """
        for compression in ({"name": "rand_k", "k": 0.5}, {"name": "top_k", "k": 0.5, "error_feedback": False}):
            cell = one_cell(compression, aggregator="mean", **SINGLE)
            federation = build(cell, digits)
            updates = _train(federation, start(federation), 0).double()
            code = code_of(federation, 0)
            expected = code.decompress(code.compress(updates)).mean(dim=0)
            outcome = run_round(federation, start(federation), 0, parties)
            step = outcome.model.double() - start(federation).double()
            assert float((step - expected).abs().max()) <= 2 * 0.5 * federation.ring.unit + 2.0**-24
            assert float(expected.abs().max()) > 100 * federation.ring.unit

    @pytest.mark.parametrize("name", sorted(aggregators.entries()))
    def test_every_rule_runs_on_kept_coordinates(self, digits: Dataset, parties: InProcessParties, name: str) -> None:
        cell = one_cell(f=1, attack="compression_aware", aggregator=name, root_rows=20, **SINGLE)
        assert skip_reason(cell, digits) is None
        metrics = run_cell(cell, digits, parties).metrics
        assert metrics["contradicted"] == ""
        assert math.isfinite(metrics["loss"])

    @pytest.mark.parametrize(
        "axes",
        [
            {"compression": "top_k", "attack": {"name": "nan_inf_huge", "value": "nan"}, **SINGLE},
            {"compression": SKETCH, "attack": {"name": "nan_inf_huge", "value": "inf"}, **SINGLE},
            {"compression": "rand_k", "attack": {"name": "nan_inf_huge", "value": "huge"}, **SINGLE},
            {"compression": "rand_k", "attack": "optimal_ipm"},
            {"compression": SKETCH, "attack": "selective_abort"},
            {"compression": FED_BACK, "attack": "sign_flip", "participation": 0.7, "cluster_size": 2},
            {"compression": "rand_k", "protocol": "median", "attack": "alie"},
            {"compression": "rand_k", "pre": ["bucketing", "nnm"], "aggregator": "centered_clipping"},
            {"compression": "rand_k", "privacy": "central", "aggregator": "mean"},
        ],
        ids=str,
    )
    def test_a_cell_runs_and_runs_again_to_the_same(
        self, digits: Dataset, parties: InProcessParties, axes: dict[str, Any]
    ) -> None:
        cell = one_cell(**{"f": 1, **axes})
        assert skip_reason(cell, digits) is None
        first, second = (run_cell(cell, digits, parties).metrics for _ in range(2))
        assert first["contradicted"] == ""
        assert first["diverged_round"] is None
        assert (first["loss"], first["epsilon"]) == (second["loss"], second["epsilon"])


class TestMemory:
    def test_all_that_was_sent_and_what_is_remembered_is_all_that_there_was(self, digits: Dataset) -> None:
        """Whole numbers, exactly; by processes that take part in some rounds only."""
        federation = federation_of(digits, FED_BACK)
        total, sent = torch.zeros(9, 650, dtype=torch.float64), torch.zeros(9, 650, dtype=torch.float64)
        for turn in range(6):
            there = np.flatnonzero(public_stream(turn, "there").random(9) < 0.6)
            present = dataclasses.replace(federation.of(there), code=code_of(federation, turn))
            updates = rows_of(present, turn)
            whole = with_memory(present, updates)
            total[there] += updates
            sent[there] += present.code.decompress(present.code.compress(whole))
        left = with_memory(dataclasses.replace(federation, code=Nothing()), torch.zeros(9, 650, dtype=torch.float64))
        assert torch.equal(sent + left, total)
        assert bool(left.any())

    def test_without_error_feedback_nothing_is_remembered(self, digits: Dataset) -> None:
        federation = federation_of(digits)
        for _ in range(2):
            assert torch.equal(with_memory(federation, rows_of(federation)), rows_of(federation))

    def test_a_process_whose_numbers_are_not_finite_spoils_no_memory_but_forgets_its_own(self, digits: Dataset) -> None:
        federation, clean = (federation_of(digits, FED_BACK) for _ in range(2))
        updates = rows_of(federation)
        poisoned = updates.clone()
        poisoned[4, 7] = math.nan
        with_memory(federation, poisoned)
        with_memory(clean, updates)
        found, expected = (with_memory(each, torch.zeros_like(updates)) for each in (federation, clean))
        others = torch.arange(9) != 4
        assert torch.equal(found[others], expected[others])
        assert not bool(found[4].any())

    def test_what_the_server_has_decoded_and_kept_is_all_that_it_got(self, digits: Dataset) -> None:
        """Sketches of whole numbers: in float64 exactly, and the models are whole numbers as well."""
        federation = federation_of(digits, SKETCH)
        model, got = torch.zeros(650), torch.zeros(federation.coordinates, dtype=torch.float64)
        for turn in range(5):
            combined = federation.code.compress(rows_of(federation, turn)).sum(dim=0)
            got += combined
            decision = Decision(combined=combined, exchange=None, given=NOTHING, sensitivity=None)
            model = _moved(federation, model, decision, NOBODY, turn)
        residue = federation.recall.residue
        assert residue is not None
        assert bool(residue.any())
        assert torch.equal(federation.code.compress(model.double()[None])[0] + residue, got)


class Nothing:
    """A code that sends nothing, so that what is remembered shows."""

    def compress(self, updates: Tensor) -> Tensor:
        return updates[:, :1]

    def decompress(self, rows: Tensor) -> Tensor:
        return rows.new_zeros(len(rows), 650)


class TestNoise:
    def test_epsilon_is_what_it_is_without_compression(self, digits: Dataset, parties: InProcessParties) -> None:
        """A mask makes no update longer; only the slack for rounding fewer coordinates is smaller: 0.5 unit x sqrt(d).

        At clip_norm 1 that is below 2e-4 of the noise multiplier, which epsilon follows about in proportion.
        """
        for privacy in ("local", "distributed"):
            cells = [one_cell(name, privacy={"name": privacy, "noise_multiplier": 2.0}) for name in ("none", "rand_k")]
            plain, packed = (float(run_cell(cell, digits, parties).metrics["epsilon"]) for cell in cells)
            assert packed <= plain
            assert math.isclose(plain, packed, rel_tol=1e-2)

    def test_the_result_gets_noise_in_the_kept_coordinates_only(self, digits: Dataset) -> None:
        """A combined row of zeros and noise of std 3: what is not zero in the step are the kept coordinates."""
        noisy = {"name": "central", "noise_multiplier": 3.0}
        federation = federation_of(digits, {"name": "rand_k", "k": 0.5}, privacy=noisy, aggregator="mean")
        combined = torch.zeros(federation.coordinates, dtype=torch.float64)
        decision = Decision(combined=combined, exchange=None, given=NOTHING, sensitivity=1.0)
        step = _moved(federation, torch.zeros(650), decision, NOBODY, 0)
        assert federation.coordinates == 325
        assert torch.equal(step != 0, federation.code.decompress(torch.ones(1, 325))[0] != 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("axes", "why"),
        [
            ({"compression": "top_k"}, "clusters of 3 cannot add"),
            ({"compression": "top_k", "protocol": "plaintext"}, "clusters of 3 cannot add"),
            ({"compression": FED_BACK, "privacy": "local"}, "left out before"),
            ({"compression": SKETCH, "privacy": "distributed"}, "longer messages"),
            ({"compression": "top_k", "privacy": "central", **SINGLE}, "left out before"),
            (
                {"compression": {"name": "top_k", "error_feedback": False}, "privacy": "central", **SINGLE},
                "longer messages",
            ),
            ({"compression": "rand_k", "topology": "ring"}, "ring has none"),
            ({"compression": {"name": "count_sketch", "tables": 1000}}, "tables = 1000 has more than 65"),
            ({"compression": {"name": "count_sketch", "k": 1.0}}, "650 words for 650 coordinates"),
            ({"compression": {"name": "top_k", "k": 0.6}, **SINGLE}, "780 words for 650 coordinates"),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )
    def test_what_does_not_fit_is_skipped_with_its_reason(
        self, digits: Dataset, axes: dict[str, Any], why: str
    ) -> None:
        reason = skip_reason(one_cell(**axes), digits)
        assert reason is not None
        assert why in reason

    def test_a_protocol_that_hides_inputs_does_not_show_masks(self, digits: Dataset) -> None:
        reason = skip_reason(one_cell("top_k", clustering="singletons", protocol="committee"), digits)
        assert reason is not None
        assert "which coordinates" in reason or "committee:" in reason

    def test_what_fits_is_not(self, digits: Dataset) -> None:
        for axes in ({"privacy": "local"}, {"compression": "top_k", **SINGLE}, {"compression": FED_BACK}):
            assert skip_reason(one_cell(**axes), digits) is None


class TestAttacks:
    def test_the_view_shows_the_code_of_the_round(
        self, monkeypatch: pytest.MonkeyPatch, digits: Dataset, parties: InProcessParties
    ) -> None:
        views = spied(monkeypatch, "sign_flip")
        federation = build(one_cell(f=2, attack="sign_flip"), digits)
        for turn in (0, 1):
            run_round(federation, start(federation), turn, parties)
            rows = torch.arange(650, dtype=torch.float64)[None]
            assert torch.equal(views[-1].code.compress(rows), code_of(federation, turn).compress(rows))

    @pytest.mark.parametrize("compression", ["rand_k", SKETCH, {"name": "top_k", "k": 0.2}], ids=str)
    def test_the_defences_aggregate_is_what_the_server_decodes(
        self, monkeypatch: pytest.MonkeyPatch, digits: Dataset, parties: InProcessParties, compression: object
    ) -> None:
        """In the second round, so that both memories are there.

        Each number is off by half a unit at most, times d / k = 10 or the three tables of a sketch; and the model is
        float32: its step is off by 2^-24 of numbers below 1.
        """
        entry = attacks.entry("sign_flip")
        monkeypatch.setitem(
            attacks._entries, "sign_flip", dataclasses.replace(entry, facts={**entry.facts, "knowledge": "defence"})
        )
        views, flip = spied(monkeypatch, "sign_flip"), {"name": "sign_flip", "scale": 1.0}
        axes = SINGLE if compression not in ("rand_k", SKETCH) else {}
        federation = build(one_cell(compression, f=2, attack=flip, aggregator="mean", **axes), digits)
        model = start(federation)
        for turn in (0, 1):
            outcome = run_round(federation, model, turn, parties)
            step, model = outcome.model.double() - model.double(), outcome.model
        promised = views[-1].aggregate(-views[-1].own)
        assert float((step - promised).abs().max()) <= 10 * 0.5 * federation.ring.unit + 2.0**-24
        assert float(promised.abs().max()) > 100 * federation.ring.unit

    def test_compression_aware_spends_all_its_length_where_it_counts(self) -> None:
        """Under a mask the message is as long as the whole update, the other way, and nothing is wasted elsewhere."""
        world = dataclasses.replace(make_world(d=40), code=mask(40))
        sent = send({"name": "compression_aware", "budget": 2.0}, look("own", world))
        packed = world.code.compress(sent)
        honest = world.code.compress(world.own)
        # A product and a quotient of lengths, each rounded.
        assert torch.allclose(packed.norm(dim=1), 2.0 * world.own.norm(dim=1), rtol=1e-14, atol=0)
        assert torch.allclose(packed.norm(dim=1), sent.norm(dim=1), rtol=1e-14, atol=0)
        assert bool((sent.norm(dim=1) <= 2.0 * world.own.norm(dim=1) * (1 + 1e-14)).all())
        cosines = (packed * honest).sum(dim=1) / packed.norm(dim=1) / honest.norm(dim=1)
        assert torch.allclose(cosines, torch.full((3,), -1.0, dtype=torch.float64), rtol=1e-14, atol=0)

    def test_reversing_the_update_alone_wastes_what_the_mask_leaves_out(self) -> None:
        """The negative twin: of a reversed update a message of 10 of 40 coordinates has less than its length left."""
        world = dataclasses.replace(make_world(d=40), code=mask(40))
        packed = world.code.compress(send({"name": "sign_flip", "scale": 1.0}, look("own", world)))
        aware = world.code.compress(send({"name": "compression_aware"}, look("own", world)))
        assert bool((aware.norm(dim=1) > 1.3 * packed.norm(dim=1)).all())

    def test_the_length_of_what_is_sent_is_what_breaks_the_mean(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """Four of twenty reverse updates: of honest length when sent the model learns, of sqrt(d / k) times that not.

        Four senders reverse a fifth of the mean; with sqrt(d / k) = 5 times their length they outweigh the others. A
        mask that is known lets them have it in updates of honest length; the control knows no mask, and is as long.
        """
        axes = {"n": 20, "f": 4, "rounds": 8, "local_steps": 5, "learning_rate": 0.5, "aggregator": "mean", **SINGLE}
        flips = [{"name": "sign_flip", "scale": scale} for scale in (1.0, 5.0)]
        cells = [
            one_cell({"name": "rand_k", "k": 0.04}, attack=attack, **axes) for attack in (*flips, "compression_aware")
        ]
        short, long, aware = (run_cell(cell, digits, parties).metrics["accuracy"] for cell in cells)
        assert short > 2 * aware
        assert short > 2 * long

    def test_without_compression_it_reverses_the_update(self) -> None:
        world = dataclasses.replace(make_world(), code=PLAIN)
        assert torch.allclose(send({"name": "compression_aware"}, look("own", world)), -world.own, rtol=1e-14, atol=0)

    def test_it_holds_back_and_releases(self) -> None:
        """Two rounds of honest rows, then three rounds' worth, and again; the memory is the attack's own."""
        memory: dict[str, Any] = {}
        for turn in range(6):
            world = dataclasses.replace(make_world(d=40, seed=turn), code=mask(40), memory=memory)
            sent = send({"name": "compression_aware", "hold": 3}, look("own", world))
            if turn % 3 < 2:
                assert torch.equal(sent, world.own)
            else:
                lengths = world.code.compress(sent).norm(dim=1)
                assert torch.allclose(lengths, 3.0 * world.own.norm(dim=1), rtol=1e-14, atol=0)
                assert bool((sent.norm(dim=1) <= 3.0 * world.own.norm(dim=1) * (1 + 1e-14)).all())

    def test_of_a_row_of_which_nothing_gets_through_it_sends_nothing(self) -> None:
        world = dataclasses.replace(make_world(d=40), own=torch.zeros(3, 40, dtype=torch.float64), code=mask(40))
        assert not bool(send({"name": "compression_aware"}, look("own", world)).any())

    def test_with_error_feedback_it_sends_what_honest_senders_give_back_bit_by_bit(
        self, digits: Dataset, parties: InProcessParties, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After some rounds its message is longer than those of the honest, which remember as much."""
        views = spied(monkeypatch, "compression_aware")
        federation = build(one_cell(FED_BACK, f=2, attack="compression_aware", **SINGLE), digits)
        model, ratios = start(federation), list[float]()
        for turn in range(4):
            model = run_round(federation, model, turn, parties).model
            own = views[-1].own
            ratios.append(float((own.norm(dim=1) / views[-1].code.compress(own).norm(dim=1)).mean()))
        # An update's own ratio is about sqrt(d / k) = 2, and what is left out is not in the message.
        assert min(ratios) > 1.3


def mask(d: int) -> Code:
    return compressors.make(compressors.resolve({"name": "rand_k", "k": 0.25})).code(d, public_stream(0, "mask"))


def send(config: dict[str, Any], view: OwnView) -> Tensor:
    attack: Any = attacks.make(attacks.resolve(config))
    return attack(view)


def spied(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Return a list that the views of an attack are added to."""
    views: list[Any] = []
    factory: Any = attacks.entry(name).factory
    original = factory.__call__

    def call(self: Any, view: OwnView) -> Tensor:
        views.append(view)
        return original(self, view)

    monkeypatch.setattr(factory, "__call__", call)
    return views
