"""What the Byzantine processes send in a round: the attacks of the plan in order, each with its own view."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks import attacks
from attacks.api import World, look
from attacks.plan import Part
from bench.compressing import combined_rows, updates_of, with_residue
from bench.given import guessed
from bench.inside import means_in_the_clear
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.playable import robust_of
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["Sent", "attacked", "sees_past_the_noise"]

# The knowledge of those who are shown honest updates.
_OMNISCIENT = ("honest", "defence")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What all processes send (n, d); who omits its privacy noise, and who sends numbers as no honest sender would.

    `silent` and `raw` are masks (n,).
    """

    rows: Tensor
    silent: NDArray[np.bool_]
    raw: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Moment:
    clustering: Clustering
    model: Tensor
    round_index: int


def sees_past_the_noise(federation: Federation) -> bool:
    """Whether what some Byzantine process does depends on numbers that no noise hides, so that it gives them away.

    An omniscient one computes what it sends from honest updates before their noise. Where noise is added to the result
    only, so do those who have seen what clusters opened, or are about to open: by what they send they move the result
    farther than the noise is made for, and by whose sums they abort, which clusters are in it.
    """
    bare = federation.mechanism.clip_norm is not None and not federation.mechanism.member_std(federation.cluster_size)
    telling = (*_OMNISCIENT, "cluster") if bare else _OMNISCIENT
    return any(
        part.senders.any()
        and (part.facts.get("knowledge") in telling or (bare and part.facts.get("reads_mean", False)))
        for part in federation.parts
    )


def attacked(federation: Federation, updates: Tensor, clustering: Clustering, model: Tensor, round_index: int) -> Sent:
    """Return what is sent when each process would honestly send its row of the updates, float64 (n, d).

    Attacks act in the order of the plan, but one that searches against the defence waits for attacks of other senders.
    Of two that search, the first takes the other's senders for honest. An attack that reads honest updates is not at
    work in a round in which nobody honest takes part.

    Guarantees:
        What an honest process sends is its own update.
        An attack's rows depend on nothing outside of the view that its knowledge allows.
    """
    sent = Sent(rows=updates, silent=np.zeros(len(updates), np.bool_), raw=np.zeros(len(updates), np.bool_))
    moment = _Moment(clustering=clustering, model=model.to(torch.float64), round_index=round_index)
    for number in _order(federation.parts):
        part = federation.parts[number]
        strength = part.strength(round_index)
        blind = bool(federation.faulty.all()) and part.facts["knowledge"] in _OMNISCIENT
        if not part.senders.any() or not strength or blind:
            continue
        world = _world(federation, sent.rows, number, moment)
        rows = _moved(world.own, _rows(part, world), strength)
        everybody = sent.rows.clone()
        everybody[torch.from_numpy(part.senders)] = rows
        silent = sent.silent if part.facts["adds_noise"] else sent.silent | part.senders
        sent = Sent(rows=everybody, silent=silent, raw=sent.raw | part.senders if part.facts.get("raw") else sent.raw)
    return sent


def _order(parts: Sequence[Part]) -> list[int]:
    """Return the numbers of the attacks on updates as they act; of one sender always in the order of the plan."""
    left = [number for number, part in enumerate(parts) if part.facts["surface"] == "update"]
    order: list[int] = []
    while left:
        ready = [
            number
            for place, number in enumerate(left)
            if not any(bool((parts[number].senders & parts[other].senders).any()) for other in left[:place])
        ]
        chosen = next((number for number in ready if parts[number].facts["knowledge"] != "defence"), ready[0])
        left.remove(chosen)
        order.append(chosen)
    return order


def _moved(own: Tensor, rows: Tensor, strength: float) -> Tensor:
    return rows if strength == 1.0 else own + strength * (rows - own)


def _rows(part: Part, world: World) -> Tensor:
    attack: Any = attacks.make(part.spec)
    rows = attack(look(part.facts["knowledge"], world))
    if rows.shape != world.own.shape:
        raise CloisterError(
            f"attack {part.spec.name!r} sends shape {tuple(rows.shape)}; allowed: {tuple(world.own.shape)}"
        )
    return rows


def _world(federation: Federation, sent: Tensor, number: int, moment: _Moment) -> World:
    """Return all that there is to see for the senders of a part, after the parts before it."""
    part, names = federation.parts[number], federation.numbers
    senders, honest = torch.from_numpy(part.senders), torch.from_numpy(~federation.faulty)
    # The first attack's streams are called as they were when there was only one.
    again = (number,) if number else ()
    return World(
        own=sent[senders],
        numbers=tuple(names[part.senders].tolist()),
        n=federation.data.n,
        round_index=moment.round_index,
        rng=public_stream(federation.seed, "attack", moment.round_index, *again),
        model=moment.model,
        code=federation.code,
        previous=None if federation.past is None else moment.model - federation.past.model.to(torch.float64),
        memory=federation.memory.setdefault(number, {}),
        clusters=tuple(tuple(names[list(members)].tolist()) for members in moment.clustering.clusters),
        opened=None if federation.past is None else federation.past.opened,
        honest=sent[honest],
        honest_numbers=tuple(names[~federation.faulty].tolist()),
        pre=federation.pre_specs,
        rule=federation.rule_spec,
        aggregate=_aggregate(federation, sent, part.senders, moment),
    )


def _aggregate(
    federation: Federation, sent: Tensor, senders: NDArray[np.bool_], moment: _Moment
) -> Callable[[Tensor], Tensor]:
    """Return what the server makes of the senders' rows (f, d), if all words arrive and nobody adds noise."""
    clustering = moment.clustering
    home = torch.empty(len(sent), dtype=torch.int64)
    for j, members in enumerate(clustering.clusters):
        home[list(members)] = j
    sizes = torch.tensor(clustering.sizes, dtype=torch.int64)
    who = torch.from_numpy(senders)
    terms = federation.terms(clustering)
    given = cache(partial(guessed, federation, moment.model, clustering, moment.round_index))
    code, residue = federation.code, federation.recall.residue
    packed = cache(partial(code.compress, sent))

    def sums_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        known = packed()
        others = known.new_zeros(len(sizes), known.shape[1]).index_add_(0, home[~who], known[~who])
        return others.index_add_(0, home[who], rows) / sizes[:, None], sizes

    def statistics_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        everybody = packed().clone()
        everybody[who] = rows
        words = federation.ring.encode(everybody, terms=terms)
        return means_in_the_clear(federation.protocol, federation.ring, words, clustering, federation.centre)

    # Of hidden sums the rule sees the means too, if nobody else does.
    opened = sums_of if federation.hidden or robust_of(federation.protocol) is None else statistics_of

    def aggregate(rows: Tensor) -> Tensor:
        # An update that no honest sender could encode counts as the nearest one that can be.
        means, added = opened(federation.ring.saturate(code.compress(rows), terms=terms))
        combined = federation.combine(combined_rows(federation, means), added, given())
        if combined is None:
            return torch.zeros_like(sent[0])
        return updates_of(federation, with_residue(combined, residue)[None])[0]

    return aggregate
