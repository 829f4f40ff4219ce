"""Centred clipping under encryption remembers: it starts from the last aggregate, as the rule in the clear does."""

import math
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import Tensor

from bench import round as bench_round
from bench.centring import centre_of
from bench.data import Dataset
from bench.datasets import datasets
from bench.federation import build
from bench.opening import Opened
from bench.outcome import RoundOutcome
from bench.round import run_round
from bench.setting import Federation, Past
from protocols.in_process import InProcessParties
from protocols.types import Traffic
from tests.rounds import cell_with, start

MEMBERS, RADIUS, STEPS = 5, 0.05, 64
PARTIES = InProcessParties(MEMBERS)
COMMON = {"dataset": "breast_cancer", "n": MEMBERS, "f": 0, "attack": "none"}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return datasets.make(datasets.resolve("breast_cancer")).load(None)


def encrypted(dataset: Dataset) -> Federation:
    """One cluster of all, which opens centred clipping."""
    protocol = {"name": "centered_clipping", "radius": RADIUS, "steps": STEPS}
    return build(cell_with(**COMMON, protocol=protocol, cluster_size=MEMBERS, aggregator="mean"), dataset)


def in_the_clear(dataset: Dataset) -> Federation:
    """Every member's update before the server, which has the rule with its memory."""
    rule = {"name": "centered_clipping", "radius": RADIUS}
    return build(cell_with(**COMMON, protocol="plaintext", clustering="singletons", aggregator=rule), dataset)


def slack(updates: Tensor, centre: Tensor) -> float:
    """How far the two results may be apart.

    Of a member that is clipped, the table's factor is at least 2^(-1 / steps) of the exact one, less 2^-20 of its norm;
    every member's word, the centre's and the quotient are rounded to units.
    """
    apart = (updates.double() - centre).norm(dim=1)
    clipped = apart > RADIUS
    table = RADIUS * (1 - 2 ** (-1 / STEPS)) + 2.0**-20 * apart
    unit = 2.0**-16 * math.sqrt(updates.shape[1])
    return float((table * clipped).mean()) + 4 * unit


def rounds_of(dataset: Dataset) -> list[tuple[Federation, RoundOutcome, RoundOutcome, Tensor]]:
    """Three rounds of each from the same models: the federation, both outcomes, and the model before."""
    ours, plain = encrypted(dataset), in_the_clear(dataset)
    model, found = start(ours), []
    for number in range(3):
        outcome, other = run_round(ours, model, number, PARTIES), run_round(plain, model, number, InProcessParties(1))
        found.append((ours, outcome, other, model))
        ours, plain = (replace(each, past=Past(model=model, opened=outcome.opened)) for each in (ours, plain))
        model = outcome.model
    return found


def test_every_round_moves_the_model_as_the_rule_with_memory_does(dataset: Dataset) -> None:
    for federation, outcome, other, model in rounds_of(dataset):
        centre = torch.zeros(len(model), dtype=torch.float64)
        if federation.past is not None:
            centre = (model.double() - federation.past.model.double()) / federation.server_learning_rate
        # float32 models are rounded to 2^-24 of their size
        allowed = slack(other.opened.means, centre) + 2.0**-23 * float(model.double().norm())
        assert float((outcome.model.double() - other.model.double()).norm()) <= allowed
        assert outcome.sum_exact


class _EnoughError(Exception):
    """The round has come as far as the test looks."""


def entered(federation: Federation, model: Tensor) -> Tensor:
    """The words (n, d) that members enter in a round from this model, which ends there."""
    opening = mock.Mock(side_effect=_EnoughError)
    with mock.patch.object(bench_round, "open_sums", opening), pytest.raises(_EnoughError):
        run_round(federation, model, 1, PARTIES)
    return opening.call_args.args[1]


def test_members_of_a_later_round_add_what_they_are_more_than_the_last_aggregate(dataset: Dataset) -> None:
    federation = encrypted(dataset)
    model = start(federation)
    step = torch.linspace(-1.0, 1.0, len(model))
    nothing = Opened(numbers=[], means=model[:0], contributors=[], exact=[], traffic=Traffic.none())
    later = replace(federation, past=Past(model=model - step, opened=nothing))
    assert later.server_learning_rate == 1.0
    last = federation.ring.encode(model.double() - (model - step).double(), terms=1)
    assert bool(last.any())
    assert torch.equal(entered(later, model), entered(federation, model) - last)


def test_without_the_centre_later_rounds_stay_behind(dataset: Dataset) -> None:
    """The twin: from zero, every round moves by a radius at most, and the rule in the clear by more and more."""
    with mock.patch.object(bench_round, "centre_of", return_value=None):
        found = rounds_of(dataset)
    steps = [float((outcome.model - model).norm()) for _, outcome, _, model in found]
    assert max(steps) <= RADIUS + 0.01
    _, outcome, other, model = found[-1]
    assert float((other.model - model).norm()) > 1.5 * RADIUS
    assert float((outcome.model - other.model).norm()) > 0.5 * RADIUS


def test_only_what_counts_from_a_point_has_one(dataset: Dataset) -> None:
    federation = encrypted(dataset)
    model = start(federation)
    assert centre_of(federation, model) is None  # in the first round
    outcome = run_round(federation, model, 0, PARTIES)
    later = replace(federation, past=Past(model=model, opened=outcome.opened))
    centre = centre_of(later, outcome.model)
    assert centre is not None
    torch.testing.assert_close(federation.ring.decode(centre), outcome.model.double() - model, rtol=0, atol=2.0**-16)
    assert centre_of(replace(later, protocol=in_the_clear(dataset).protocol), outcome.model) is None
