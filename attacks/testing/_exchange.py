"""The checks of attacks on the exchange between clusters."""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from attacks.api import ExchangeAttack, ExchangeView, attacks
from protocols.decentralised.graph import Graph, metropolis_weights
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check

__all__ = ["EXCHANGE_CHECKS", "make_exchange_view"]


def make_exchange_view(*, m: int = 7, d: int = 5, liars: tuple[int, ...] = (1, 4), seed: int = 0) -> ExchangeView:
    """Return random models (m, d) of clusters on a ring with a chord, some of them liars."""
    graph = Graph.of(m, [*((j, (j + 1) % m) for j in range(m)), (0, m // 2)])
    return ExchangeView(
        held=torch.from_numpy(public_stream(seed, "conformance").normal(size=(m, d))),
        liars=liars,
        weights=metropolis_weights(graph),
        round_index=2,
        rng=public_stream(seed, "attack"),
    )


def _told(spec: Spec, view: ExchangeView) -> Tensor:
    return cast(ExchangeAttack, attacks.make(spec))(view)


def tells_each_cluster_something(spec: Spec) -> None:
    """The attack returns float64 (liars, m, d), for one liar and for all but one."""
    for m, d, liars in ((3, 1, (2,)), (7, 5, (1, 4)), (5, 4, (0, 1, 2, 3))):
        told = _told(spec, make_exchange_view(m=m, d=d, liars=liars))
        expected = (len(liars), m, d)
        assert told.shape == expected, f"{spec} tells shape {tuple(told.shape)}; allowed: {expected}"
        assert told.dtype == torch.float64, f"{spec} tells {told.dtype}; allowed: torch.float64"


def exchange_attack_is_repeatable_and_leaves_its_view_alone(spec: Spec) -> None:
    """Equal views give equal messages, and the view's tensors stay as they were."""
    view, fresh = make_exchange_view(), make_exchange_view()
    torch.manual_seed(1)
    first = _told(spec, view)
    np.random.seed(3)  # noqa: NPY002 - to show that global state does not matter
    assert torch.equal(first, _told(spec, make_exchange_view())), f"{spec} differs between equal views"
    assert torch.equal(view.held, fresh.held), f"{spec} changed the models in its view"
    assert torch.equal(view.weights, fresh.weights), f"{spec} changed the weights in its view"


EXCHANGE_CHECKS: list[Check] = [
    tells_each_cluster_something,
    exchange_attack_is_repeatable_and_leaves_its_view_alone,
]
