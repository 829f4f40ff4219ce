"""Agreement: all that follow the protocol end alike."""

from collections import Counter
from dataclasses import dataclass

import torch

from protocols.faults import Equivocate, Mute, Tamper
from protocols.network import BOARD
from protocols.registry import Spec
from protocols.secure_sum._publish import VOUCHER_BYTES, vouches
from protocols.testing.invariants.campaign import campaign_sizes
from protocols.testing.invariants.contract import Effort, Evidence
from protocols.testing.invariants.runs import Observation, observe, observe_pair, scenario_of, steps_of

__all__ = ["agrees_under_equivocation"]

_USE = 1
"""The number of an observed batch: the first of its parties."""


def agrees_under_equivocation(spec: Spec, effort: Effort) -> Evidence:
    """I10: where one member tells the others different things, all that follow the protocol end alike or not at all.

    An opened sum means that nobody who follows the protocol has ended by finding that somebody cheated, and that
    those who vouch for it with their last message to the board when all is well still do so.
    """
    parties = campaign_sizes(spec, effort)[0]
    vouchers = _vouchers(observe(scenario_of(spec, parties)))
    cases = opened = 0
    for step in range(steps_of(spec, parties)):
        lies = ("equivocate", "one peer", "silence")
        for number, lie in enumerate(lies if effort.single > 15 else lies[step % 3 :][:1]):
            rank = (step + number) % parties
            peer = (rank + 1 + step % (parties - 1)) % parties if parties > 1 else BOARD
            fault = {
                "equivocate": Equivocate(step=step, delta=9, to=frozenset({peer})),
                "one peer": Tamper(step=step, delta=2**33 + 1, to=peer),
                "silence": Mute(step=step, to=peer),
            }[lie]
            pair = observe_pair(scenario_of(spec, parties, seed=7 + step, faults=[(rank, fault)]))
            cases += 1
            for seen in (pair.first, pair.second):
                opened += seen.opened
                _check_agreement(seen, rank, vouchers)
            if pair.first.opened != pair.second.opened or pair.first.flags != pair.second.flags:
                raise pair.first.violation(
                    f"whether it opens depends on inputs: {pair.first.kind} with {dict(pair.first.flags)} or "
                    f"{pair.second.kind} with {dict(pair.second.flags)}"
                )
    text = f"other words, or none, to one peer in every exchange; {opened} runs opened"
    return Evidence(how="property", cases=cases, text=text)


@dataclass(frozen=True, kw_only=True)
class _Vouchers:
    """Who vouches for the sums by a voucher under a key of its own, and who by the same digest as another member."""

    keyed: frozenset[int]
    alike: frozenset[int]


def _posts(seen: Observation) -> dict[int, list[bytes]]:
    """Return what each member has told the board, in order."""
    posts = {r: [m for peer, m in sent if peer == BOARD] for r, sent in seen.sent.items() if r != BOARD}
    return {
        rank: [post.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for post in mine]
        for rank, mine in posts.items()
        if mine
    }


def _fit(seen: Observation) -> frozenset[int]:
    """Return whose last post to the board is a voucher for what member 0 has published there."""
    posts = _posts(seen)
    published = posts.get(0, [])[-2:-1]  # its own voucher, for the batch alone, comes last
    last = {rank: mine[-1] for rank, mine in posts.items() if rank and len(mine[-1]) == VOUCHER_BYTES}
    return frozenset(rank for rank, post in last.items() for sums in published if vouches(post, _USE, memoryview(sums)))


def _vouchers(seen: Observation) -> _Vouchers:
    """Return who vouches where all is well.

    Posts that happen to be equal and are no digests, such as bitmaps of whose shares came, vouch for nothing.
    """
    last = {rank: mine[-1] for rank, mine in _posts(seen).items()}
    counts = Counter(last.values())
    alike = {rank for rank, post in last.items() if counts[post] > 1 and len(post) == VOUCHER_BYTES}
    return _Vouchers(keyed=_fit(seen), alike=frozenset(alike))


def _check_agreement(seen: Observation, liar: int, vouchers: _Vouchers) -> None:
    if not seen.opened:
        return
    found = [rank for rank, error in seen.flags.items() if rank != liar and error == "CheatingDetectedError"]
    if found:
        raise seen.violation(f"a sum is opened although {found} ended by finding that somebody cheated")
    posts = _posts(seen)
    other = sorted(vouchers.keyed - {liar} - _fit(seen))
    alike = sorted(vouchers.alike - {liar})
    if len({posts[rank][-1] for rank in alike if rank in posts}) > 1:
        other += alike
    if other:
        raise seen.violation(f"a sum is opened although {other}, who follow the protocol, vouch for different ones")
