"""What all statistics on planes of bits share: thresholds, waves that bound memory, publishing, and their cost."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.secure_robust._access import Access, threshold_of
from protocols.secure_robust._engine import BITS, Engine
from protocols.secure_robust._opening import openings_cost, sent_to_all_cost
from protocols.secure_robust._pads import agree_on_pads, agreement_cost
from protocols.secure_robust._planes import from_planes, to_planes, words_for
from protocols.secure_robust._waves import waves
from protocols.secure_sum import Board, Party
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.types import Cost, Traffic

__all__ = ["access_for", "bitwise", "bitwise_cost", "read_words"]


def access_for(threshold: str, parties: int) -> Access:
    """Return who holds which part of a mask in a cluster of that size; CloisterError where nobody can."""
    if parties < 3:
        raise CloisterError(
            f"a cluster of {parties} members has no honest majority against even one; allowed: 3 members or more"
        )
    return Access(parties=parties, threshold=threshold_of(threshold)(parties))


def bitwise(
    party: Party,
    access: Access,
    words: Tensor,
    evaluate: Callable[[Engine, Tensor], Tensor],
    *,
    taken: int,
    live: int,
) -> None:
    """Evaluate a function of planes in waves of coordinates, and publish what it opens.

    `taken` bits of each of this member's int64 words (clusters, coordinates) enter; `live` is how many planes are live
    a cluster. `evaluate` gets planes (clusters, taken, words) and returns the opened planes.
    """
    pads = agree_on_pads(party, access)
    engine = Engine(party.link, access, pads, BITS)
    clusters, coordinates = words.shape
    opened: list[Tensor] = []
    for start, stop in waves(access, clusters=clusters, coordinates=coordinates, live=live):
        planes = evaluate(engine, to_planes(words[:, start:stop], taken))
        opened.append(from_planes(planes, stop - start))
    publish(party, torch.cat(opened, dim=1), vouching=True)


def read_words(board: Board) -> Tensor:
    """Return the words (clusters, coordinates) that the members published and vouch for."""
    return read_published(board, vouching=True)


def bitwise_cost(
    access: Access,
    clusters: int,
    coordinates: int,
    layers: Iterable[int],
    *,
    taken: int,
    live: int,
    comparisons: int,
) -> Traffic:
    """Return what `bitwise` sends where each layer opens so many planes a coordinate, of so many comparisons in all."""
    counted = tuple(layers)
    mpc = Cost.none()
    for start, stop in waves(access, clusters=clusters, coordinates=coordinates, live=live):
        words = clusters * words_for(stop - start)
        mpc = mpc.then(sent_to_all_cost(parties=access.parties, words=words * taken))
        mpc = mpc.then(openings_cost(access, words, counted, comparisons=comparisons))
    upload = publishing_cost(parties=access.parties, clusters=clusters, coordinates=coordinates, vouching=True)
    return Traffic(offline=agreement_cost(access), mpc=mpc, upload=upload)
