"""Robust rules: ours against byzfl's on the same float32 rows, in turns, one thread."""

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench.peers import Comparison, interleave
from bench.peers._byzfl import PEER, byzfl
from bench.peers._rules import PAIRS, Pair, peer_result
from protocols import check, compiled
from protocols.check import CloisterError
from protocols.memory import keep_freed_memory
from protocols.randomness import public_stream

__all__ = ["agreement_error", "compare_aggregators", "notes"]

# Coordinates on which agreement is checked, or as many as the kernels for large inputs need.
_CHECKED = 4000
AGREEMENT = 2e-5
"""Largest difference of two results over the largest number: some hundred roundings of 2^-24 on either side."""


def compare_aggregators(*, n: int = 100, f: int = 20, d: int = 100_000, turns: int = 5) -> list[Comparison]:
    """Return the comparisons of every rule that byzfl defines, with byzfl's torch and its numpy form of each.

    The seconds are processor time of the one thread. Rules that look at all subsets are timed on as many rows as the
    peer ends in seconds on; their names then say on how many. A peer that writes into its input gets copies, made
    before.

    Before anything is timed, both are compared in settings in which they mean the same, see `Pair`.
    Raises: CloisterError where byzfl is missing or n, f, d make no sense; AssertionError where the results differ.
    """
    check.integer_at_least(1, d=d, f=f)
    if not 2 * f + 3 <= n:
        raise CloisterError(f"n = {n} rows with f = {f} are not allowed; allowed: n >= 2 f + 3, as Krum needs")
    module, threads = byzfl(), torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # one process, so it serves the peer as well
    try:
        with threadpool_limits(limits=1):
            rows = torch.from_numpy(public_stream(0, "peers", "aggregators", n, d).normal(size=(n, d))).float()
            checked = max(_CHECKED, -(-compiled.LEAST // n))
            for pair in PAIRS:
                some, told = _as_many(pair, rows[:, :checked].contiguous(), f)
                error = agreement_error(pair, some, told, module)
                assert error <= AGREEMENT, f"{pair.name}: the results differ by {error:.2g} of the largest number"
            return [
                _compare(pair, form, rows, f, turns=turns, keeping=keeping)
                for pair in PAIRS
                for keeping in ((False, True) if pair.in_place else (False,))
                for form in (_TORCH, _NUMPY)
            ]
    finally:
        torch.set_num_threads(threads)


def agreement_error(pair: Pair, rows: Tensor, f: int, module: Any) -> float:
    """Return the largest difference of the two results, over the largest number, where both mean the same.

    Rows that are moved away to make them agree do not count for the largest: neither result is to have a part of them.
    """
    rows = rows[:, :1].contiguous() if pair.one_coordinate else rows
    largest = rows.abs().max()
    rows = _moved_apart(rows, f) if pair.far_apart else rows
    ours, theirs = pair.agreeing(len(rows), f, module)
    difference = ours(rows) - peer_result(theirs(rows.clone()), rows.dtype)
    return float(difference.abs().max() / largest)


def _moved_apart(rows: Tensor, f: int) -> Tensor:
    """Return a copy whose f first rows are the farther from all others the later they come."""
    moved = rows.clone()
    moved[:f] += 1e3 * torch.arange(1, f + 1)[:, None]
    return moved


def _as_many(pair: Pair, rows: Tensor, f: int) -> tuple[Tensor, int]:
    """Return the rows and the number of tainted ones that the pair is compared on."""
    n, most = pair.most or (len(rows), f)
    return rows[:n], min(f, most)


def notes() -> list[str]:
    """Return where the two libraries define something else, one sentence a rule."""
    return [f"{pair.name}: {pair.note}" for pair in PAIRS if pair.note]


@dataclass(frozen=True, kw_only=True)
class _Form:
    name: str
    of: Callable[[Tensor], Any]


_TORCH = _Form(name=f"{PEER} (torch)", of=lambda rows: rows)
_NUMPY = _Form(name=f"{PEER} (numpy)", of=lambda rows: rows.numpy())


def _compare(pair: Pair, form: _Form, rows: Tensor, f: int, *, turns: int, keeping: bool = False) -> Comparison:
    some, told = _as_many(pair, rows, f)
    ours, module, plain = pair.ours(told), byzfl(), form.of(some)
    copied = pair.in_place and not keeping
    inputs = iter([copy.deepcopy(plain) for _ in range(turns + 1)]) if copied else itertools.repeat(plain)

    def theirs() -> Any:
        given = next(inputs)
        return pair.peer(module, told)(copy.deepcopy(given) if keeping else given)

    name = pair.name if len(some) == len(rows) else f"{pair.name} (n = {len(some)}, f = {told})"
    name = f"{name} (input kept)" if keeping else name
    found = interleave(name, form.name, lambda: ours(some), theirs, turns=turns, clock=time.process_time)
    return replace(found, n=some.shape[0], d=some.shape[1])
