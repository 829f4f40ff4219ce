"""Attacks on updates against byzfl's, on the same honest updates; what both send is checked first."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from attacks import attacks
from attacks.api import World, look
from bench.peers import Comparison, interleave
from bench.peers._byzfl import PEER, byzfl
from protocols.aggregators import aggregators
from protocols.memory import keep_freed_memory
from protocols.randomness import public_stream
from protocols.registry import Spec

__all__ = ["byzfl_rows", "compare_attacks", "make_round"]


def make_round(*, n: int, f: int, d: int, dtype: torch.dtype = torch.float64, rule: str = "trimmed_mean") -> World:
    """Return a round of n processes by themselves, the first f of them Byzantine, under a rule that is told f."""
    draws = torch.from_numpy(public_stream(0, "peers", "attacks").normal(size=(n, d))).to(dtype)
    own, honest = draws[:f], draws[f:]
    combine = aggregators.make(aggregators.resolve(rule))
    sizes, everybody = torch.ones(n, dtype=torch.int64), draws.clone()

    def aggregate(rows: Tensor) -> Tensor:
        everybody[:f] = rows  # the honest rows stay where they are
        return combine(everybody, sizes, f)

    return World(
        own=own,
        numbers=tuple(range(f)),
        n=n,
        round_index=0,
        rng=public_stream(0, "peers", "attack"),
        model=torch.zeros(d, dtype=dtype),
        previous=None,
        memory={},
        clusters=tuple((process,) for process in range(n)),
        opened=None,
        honest=honest,
        honest_numbers=tuple(range(f, n)),
        pre=(),
        rule=Spec(name=rule),
        aggregate=aggregate,
    )


def byzfl_rows(name: str, world: World) -> Callable[[], Any]:
    """Return byzfl's attack of that name on the world's honest updates; ALIE with z = 1.5, IPM with tau = 1."""
    peer, f = byzfl(), len(world.own)
    searched = {"agg": peer.TrMean(f=f), "pre_agg_list": [], "f": f}
    made: dict[str, Callable[[], Any]] = {
        "alie": lambda: peer.ALittleIsEnough(1.5),
        "ipm": lambda: peer.InnerProductManipulation(1.0),
        "optimal_alie": lambda: peer.Optimal_ALittleIsEnough(**searched),
        "optimal_ipm": lambda: peer.Optimal_InnerProductManipulation(**searched),
        "gaussian": lambda: peer.Gaussian(0.0, 1.0),
    }
    attack = made[name]()
    return lambda: attack(world.honest)


_PARAMETERS = {"alie": {"z": 1.5}}
_SEARCH_TURNS = 2  # a search of the peer's takes half a minute


def _ours(name: str, world: World) -> Callable[[], Tensor]:
    spec = attacks.resolve({"name": name, **_PARAMETERS.get(name, {})})
    attack: Any = attacks.make(spec)
    view = look(attacks.entry(name).facts["knowledge"], world)
    return lambda: attack(view)


def compare_attacks(*, turns: int = 7, n: int = 100, f: int = 20, d: int = 100_000) -> list[Comparison]:
    """Return the comparisons, on tensors, which byzfl's own training hands to its attacks.

    The closed forms in float32, and in float64, of which byzfl makes float32 first: it moves half the bytes that ours,
    which stay float64, do. The searches in float32, each with 20 runs of a trimmed mean: of our rule
    in ours, of byzfl's in its own.
    Raises: AssertionError where a closed form differs, CloisterError where byzfl is missing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the workers; it is one process, so it serves the peer as well
    try:
        with threadpool_limits(limits=1):
            return [
                *(
                    _compared(name, make_round(n=n, f=f, d=d, dtype=dtype), turns)
                    for name in ("alie", "ipm")
                    for dtype in (torch.float64, torch.float32)
                ),
                *(
                    _compared(name, make_round(n=n, f=f, d=d, dtype=torch.float32), min(turns, _SEARCH_TURNS))
                    for name in ("optimal_alie", "optimal_ipm")
                ),
            ]
    finally:
        torch.set_num_threads(threads)


def _compared(name: str, world: World, turns: int) -> Comparison:
    ours, theirs = _ours(name, world), byzfl_rows(name, world)
    if name in ("alie", "ipm"):
        _check_equal(name, world, ours(), theirs())
    kind = str(world.honest.dtype).removeprefix("torch.")
    found = interleave(f"{name} ({kind})", PEER, ours, theirs, turns=turns, clock=time.process_time)
    return replace(found, n=world.n, d=world.honest.shape[1])


def _check_equal(name: str, world: World, ours: Tensor, theirs: Tensor) -> None:
    """byzfl's ALIE adds what ours subtracts, and divides by k - 1 where ours divides by k, as the paper's code does.

    It computes with tensors in float32, whatever they are.
    """
    expected = theirs
    if name == "alie":
        k, mean = len(world.honest), world.honest.mean(dim=0)
        expected = mean - (theirs - mean) * ((k - 1) / k) ** 0.5
    # A sum of k numbers below 6 is off by k^2 units of its type at most, and so are three steps after it.
    slack = 24 * len(world.honest) * torch.finfo(theirs.dtype).eps
    assert torch.allclose(ours[0], expected.to(ours.dtype), rtol=0, atol=slack), f"{name}: byzfl sends something else"
