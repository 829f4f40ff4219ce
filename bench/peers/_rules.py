"""Which of our rules byzfl defines too, how each is called, and in which settings both mean the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from protocols.aggregators import aggregators
from protocols.aggregators.pre import pre_aggregators

__all__ = ["PAIRS", "Pair", "peer_result"]

Rule = Callable[[Tensor], Tensor]
Peer = Callable[[Any, int], Callable[[Any], Any]]  # from byzfl and f to one of its rules, made anew


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One of our rules beside byzfl's: `peer` makes theirs, as it is by default.

    Where the two mean something else, `note` says what, and `agreeing_*` are settings in which they agree: ours as
    another `tolerate` and other parameters, theirs as another rule. `one_coordinate`: they agree for d = 1 only.
    """

    name: str
    peer: Peer
    parameters: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType[str, Any]({}))
    is_pre: bool = False
    note: str = ""
    agreeing_peer: Peer | None = None
    agreeing_tolerate: Callable[[int], int] = lambda f: f
    agreeing_parameters: Callable[[int], dict[str, Any]] = lambda honest: {}  # noqa: ARG005 - of n - f
    one_coordinate: bool = False

    def ours(self, f: int) -> Rule:
        """Return our rule for f tainted rows of (n, d), each a cluster of one."""
        return self._rule(f, dict(self.parameters))

    def agreeing(self, n: int, f: int, byzfl: Any) -> tuple[Rule, Callable[[Any], Any]]:
        """Return both rules in settings in which they mean the same."""
        ours = self._rule(self.agreeing_tolerate(f), {**self.parameters, **self.agreeing_parameters(n - f)})
        return ours, (self.agreeing_peer or self.peer)(byzfl, f)

    def _rule(self, f: int, parameters: dict[str, Any]) -> Rule:
        if self.is_pre:
            pre = pre_aggregators.make(pre_aggregators.resolve({"name": self.name, **parameters}))
            return lambda rows: pre(rows, _ones(rows), f)[0]
        rule = aggregators.make(aggregators.resolve({"name": self.name, **parameters}))
        return lambda rows: rule(rows, _ones(rows), min(f, rule.breakdown(len(rows))))


def peer_result(result: Any, dtype: torch.dtype) -> Tensor:
    """Return what a rule of byzfl returns, from torch or numpy, as a tensor of that type."""
    return torch.as_tensor(result).to(dtype)


def _ones(rows: Tensor) -> Tensor:
    return torch.ones(len(rows), dtype=torch.int64)


PAIRS: tuple[Pair, ...] = (
    Pair(name="mean", peer=lambda byzfl, _: byzfl.Average()),
    Pair(name="median", peer=lambda byzfl, _: byzfl.Median()),
    Pair(name="trimmed_mean", peer=lambda byzfl, f: byzfl.TrMean(f)),
    Pair(name="meamed", peer=lambda byzfl, f: byzfl.Meamed(f)),
    Pair(
        name="krum",
        peer=lambda byzfl, f: byzfl.Krum(f),
        note="byzfl adds up n - f - 1 distances, Blanchard et al. 2017 n - f - 2; equal where ours is told f - 1",
        agreeing_tolerate=lambda f: f - 1,
    ),
    Pair(
        name="multi_krum",
        peer=lambda byzfl, f: byzfl.MultiKrum(f),
        note="as Krum: one neighbour more; equal where ours is told f - 1 and to select n - f",
        agreeing_tolerate=lambda f: f - 1,
        agreeing_parameters=lambda honest: {"selected": honest},
    ),
    Pair(
        name="geometric_median",
        peer=lambda byzfl, _: byzfl.GeometricMedian(),
        note="byzfl takes 3 smoothed steps from zero, ours goes on until it stands; equal with 200 steps and nu = 1e-7",
        agreeing_peer=lambda byzfl, _: byzfl.GeometricMedian(nu=1e-7, T=200),
    ),
    Pair(
        name="caf",
        peer=lambda byzfl, f: byzfl.CAF(f),
        note="byzfl's direction is one power step from a random vector, ours the eigenvector; its largest deviation is "
        "that of all rows, ours of those with weight, without which it need not end; equal for d = 1 and one turn",
        agreeing_peer=lambda byzfl, _: byzfl.CAF(1),
        agreeing_tolerate=lambda _: 1,
        one_coordinate=True,
    ),
    Pair(
        name="centered_clipping",
        peer=lambda byzfl, _: byzfl.CenteredClipping(tau=100.0),
        parameters=MappingProxyType({"radius": 100.0}),
    ),
    Pair(name="nnm", peer=lambda byzfl, f: byzfl.NNM(f), is_pre=True),
)
"""In the order of the tables; a rule that byzfl does not define has no pair."""
