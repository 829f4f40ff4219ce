"""Which of our rules byzfl defines too, how each is called, and in which settings both mean the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, aggregators
from protocols.aggregators.pre import pre_aggregators
from protocols.randomness import public_stream

__all__ = ["PAIRS", "Pair", "peer_result"]

Rule = Callable[[Tensor], Tensor]
Peer = Callable[[Any, int], Callable[[Any], Any]]  # from byzfl and f to one of its rules, made anew


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One of our rules beside byzfl's: `peer` makes theirs, as it is by default.

    Where the two mean something else, `note` says what, and `agreeing_*` are settings in which they agree: ours as
    another `tolerate` and other parameters, theirs as another rule. `one_coordinate`: they agree for d = 1 only;
    `far_apart`: where the f first rows are far from all others and from one another. `most`: the largest n and f at
    which the peer ends in seconds; `in_place`: it writes into its input; `asks_last`: the last row is that of the node
    which asks, to ours given beside the others.
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
    far_apart: bool = False
    most: tuple[int, int] | None = None
    in_place: bool = False
    asks_last: bool = False

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
            given = Given(rng=public_stream(0, "peers", self.name))
            return lambda rows: pre(rows, _ones(rows), f, given)[0]
        rule = aggregators.make(aggregators.resolve({"name": self.name, **parameters}))

        def combined(rows: Tensor, given: Given = NOTHING) -> Tensor:
            return rule(rows, _ones(rows), min(f, rule.breakdown(len(rows))), given)

        return (lambda rows: combined(rows[:-1], Given(reference=rows[-1]))) if self.asks_last else combined


def peer_result(result: Any, dtype: torch.dtype) -> Tensor:
    """Return what a rule of byzfl returns, from torch or numpy, as a tensor of that type."""
    return torch.as_tensor(result).to(dtype)


def _ones(rows: Tensor) -> Tensor:
    return torch.ones(len(rows), dtype=torch.int64)


_SUBSETS = (12, 4)  # 495 of them
_RADIUS = 2.0

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
    Pair(
        name="mda",
        peer=lambda byzfl, f: byzfl.MDA(f),
        note="of the subsets with the smallest diameter byzfl takes the first, ours the one with the smallest sum of "
        "squares; equal where only one has it",
        far_apart=True,
        most=_SUBSETS,
    ),
    Pair(
        name="smea",
        peer=lambda byzfl, f: byzfl.SMEA(f),
        note="byzfl's eigenvalue is one power step from a random vector, ours exact; equal where all others are larger",
        far_apart=True,
        most=_SUBSETS,
    ),
    Pair(
        name="monna",
        peer=lambda byzfl, f: lambda rows: byzfl.MoNNA(f, len(rows) - 1)(rows),
        asks_last=True,
    ),
    Pair(name="nnm", peer=lambda byzfl, f: byzfl.NNM(f), is_pre=True),
    Pair(
        name="arc",
        peer=lambda byzfl, f: byzfl.ARC(f),
        is_pre=True,
        note="byzfl writes the rows that it cuts into its input, ours makes all anew; equal",
        in_place=True,
    ),
    Pair(
        name="clip",
        peer=lambda byzfl, _: byzfl.Clipping(_RADIUS),
        parameters=MappingProxyType({"radius": _RADIUS}),
        is_pre=True,
        note="byzfl writes the rows that it cuts into its input, ours makes all anew; equal",
        in_place=True,
    ),
    Pair(
        name="bucketing",
        peer=lambda byzfl, _: byzfl.Bucketing(2),
        is_pre=True,
        note="both shuffle; equal where all rows are one bucket",
        agreeing_peer=lambda byzfl, _: lambda rows: byzfl.Bucketing(len(rows))(rows),
        agreeing_tolerate=lambda _: 0,
        agreeing_parameters=lambda honest: {"size": 2 * honest},  # more than there are rows
    ),
)
"""In the order of the tables; a rule that byzfl does not define has no pair."""
