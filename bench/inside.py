"""What clusters compute inside: sums, whose means are taken in the clear, or robust statistics of their updates."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.parties import OpenedSums
from protocols.playable import robust_of
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secure_sum import Opened
from protocols.types import Clustering, Traffic

__all__ = ["Inside", "computed", "in_the_clear", "means_in_the_clear", "same_members"]


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The mean (d,) that one cluster of a batch opened, and whose words are in it.

    `exact` says whether the opened words, and who is said to be in them, are what the protocol promises of its members'
    words.
    """

    mean: Tensor
    contributors: tuple[int, ...]
    exact: bool


def computed(protocol: Spec, ring: FixedPoint, words: Tensor, opened: OpenedSums) -> Sequence[Inside]:
    """Return what each cluster opened, of the members' words (clusters, members, coordinates)."""
    statistic = robust_of(protocol)
    if statistic is None:
        expected = ring.wrap(words[:, list(opened.contributors)].sum(dim=1))
        means, kept = ring.decode(opened.sums) / len(opened.contributors), None
    else:
        reference = statistic.reference(words[:, list(opened.contributors)])
        expected, kept = reference.sums, reference.kept
        plain = Opened(sums=opened.sums, contributors=opened.contributors, kept=opened.kept)
        means = statistic.decode(plain, parties=len(opened.contributors))
    exact = (opened.sums == expected).all(dim=1) & same_members(opened.kept, kept)
    return [
        Inside(mean=mean, contributors=contributors, exact=right)
        for mean, contributors, right in zip(means, _contributors(opened), exact.tolist(), strict=True)
    ]


def in_the_clear(protocol: Spec, words: Tensor) -> Opened:
    """Return what a batch would open of words (clusters, members, coordinates), without encryption."""
    statistic = robust_of(protocol)
    if statistic is not None:
        return statistic.reference(words)
    return Opened(sums=words.sum(dim=1), contributors=tuple(range(words.shape[1])))


def means_in_the_clear(
    protocol: Spec, ring: FixedPoint, words: Tensor, clustering: Clustering
) -> tuple[Tensor, Tensor]:
    """Return the means (m, d) that clusters would open of all words (n, d), and how many updates are in each, (m,).

    A cluster that would open nothing is left out.
    """
    found: dict[int, Inside] = {}
    for size in sorted(set(clustering.sizes)):
        numbers = [j for j, each in enumerate(clustering.sizes) if each == size]
        members = words[torch.tensor([clustering.clusters[j] for j in numbers])]
        plain = in_the_clear(protocol, members)
        opened = OpenedSums(sums=plain.sums, contributors=plain.contributors, kept=plain.kept, traffic=Traffic.none())
        found |= zip(numbers, computed(protocol, ring, members, opened), strict=True)
    inside = [found[j] for j in sorted(found) if found[j].contributors]
    means = torch.stack([each.mean for each in inside]) if inside else words[:0].double()
    return means, torch.tensor([len(each.contributors) for each in inside], dtype=torch.int64)


def same_members(kept: Tensor | None, expected: Tensor | None) -> Tensor:
    """Return in which clusters the same members are kept; in none, where only one of both says who is."""
    if kept is None or expected is None:
        return torch.tensor(kept is expected)
    return (kept == expected).all(dim=1)


def _contributors(opened: OpenedSums) -> list[tuple[int, ...]]:
    if opened.kept is None:
        return [opened.contributors] * len(opened.sums)
    return [tuple(place for place in opened.contributors if kept[place]) for kept in opened.kept.tolist()]
