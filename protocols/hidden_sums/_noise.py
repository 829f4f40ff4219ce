"""Noise that delegates sample together: each adds a share, nobody knows the sum, and only result + noise opens.

Any g - t2 shares have the whole variance, so the noise is enough against t2 colluding delegates, who know their own
shares; if all are honest, the variance is g / (g - t2) times that.

A share is Gaussian noise rounded to whole units. A sum of rounded shares on whole numbers is a mixture, over uniform
offsets, of post-processings of the Gaussian mechanism, up to terms of exp(-2 pi^2 std^2) with the std of a share in
units: at 4 units below 1e-137.

Where all updates have norms of at most B, noise of `noise_std` is the Gaussian mechanism with multiplier noise_std / B:
for the mean, the median and the trimmed mean. "All" has the Byzantine members in it, under the median and the trimmed
mean: one that brings its group's sum to 2^63 makes it wrap around at the least change of another member's update, from
the largest sum to the smallest, which may move the result by more than the noise hides. The mean moves by no more
whatever they enter.

Source: Dwork et al. 2006, EUROCRYPT, Our Data Ourselves (noise shares); Truex et al. 2019, AISec (fewer adders).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.randomness import SecretStreams
from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import add, add_layers
from protocols.secure_robust._conversions import Dealt, deal_numbers_cost
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._opening import opening_cost, openings_cost, sent_to_all_cost
from protocols.secure_robust._planes import WORD_BITS, from_planes, words_for
from protocols.secure_sum import Party
from protocols.types import Cost

__all__ = ["JointNoise", "opened", "opened_with_noise", "opening_of_result_cost", "part_unknown", "share_of_noise"]

_LEAST_UNITS = 4.0
_LARGEST_DRAW = 8.6
"""No Gaussian draw of 53 bits is larger, in standard deviations: see SecretStreams.gaussian."""
_KEY_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class JointNoise:
    """Noise of `std` units from any `parties` - `threshold` of the shares.

    Raises: CloisterError for shares so small that rounding shows, or so large that their sum may wrap around.
    """

    std: float
    access: Access

    def __post_init__(self) -> None:
        if self.share_std < _LEAST_UNITS or self.bound >= 2**62:
            most = 2.0**61 / _LARGEST_DRAW / self.access.parties
            raise CloisterError(
                f"noise shares of {self.share_std:.3g} units do not fit; allowed: {_LEAST_UNITS:.3g} to {most:.3g} "
                f"units; change noise_std or fraction_bits"
            )

    @property
    def share_std(self) -> float:
        """The standard deviation of one delegate's share before rounding, in units."""
        return self.std / math.sqrt(self.access.parties - self.access.threshold)

    @property
    def bound(self) -> int:
        """What the noise of all delegates never exceeds, in units."""
        return self.access.parties * (math.ceil(_LARGEST_DRAW * self.share_std) + 1)


def part_unknown(access: Access, known: int) -> float:
    """Return how much noise those who know so many shares do not know, in parts of what any g - t2 shares have.

    Zero beyond t2, where they know without noise what it is added to.
    """
    if known > access.threshold:
        return 0.0
    return math.sqrt((access.parties - known) / (access.parties - access.threshold))


def share_of_noise(party: Party, noise: JointNoise, shape: tuple[int, int], part: int = 0) -> Tensor:
    """Return this party's own share, int64 (clusters, coordinates); parts of a batch that open apart have their own."""
    key = party.keys.secrets.token(purpose=f"hidden sums noise {part}", use=party.use, size=_KEY_BYTES)
    draws = SecretStreams(key).gaussian(use=party.use, lanes=shape[0], count=shape[1])
    return torch.round(draws * noise.share_std).to(torch.int64)


def opened(bits: Engine, result: Shared, coordinates: int, *, in_bits: bool) -> Tensor:
    """Return the words (clusters, coordinates) of a result, words or planes, which all delegates learn."""
    if in_bits:
        return from_planes(bits.reveal(result), coordinates)
    return bits.over(WORDS).reveal(result)


def opened_with_noise(bits: Engine, result: Shared, share: Tensor, number: Dealt | None) -> Tensor:
    """Return the words of a result plus the noise of all shares.

    `number` is random, one a cluster and coordinate (clusters, 1, coordinates), where the result is in planes.
    """
    words = bits.over(WORDS)
    noise = words.sum(words.share_inputs(share), 1)
    if number is None:
        return words.reveal(words.add(result, noise))
    clusters, planes, lanes = result.shape
    sums = add(bits, result, number.planes.view(clusters, planes, lanes))
    masked = from_planes(bits.reveal(sums), share.shape[1])  # result + number
    hidden = words.subtract(noise, number.words.view(*share.shape))
    return words.reveal(words.add_public(hidden, masked))


def opening_of_result_cost(
    access: Access, *, clusters: int, coordinates: int, in_bits: bool, noisy: bool
) -> tuple[Cost, Cost]:
    """Return what opening a result sends offline and online, with noise or without."""
    words, planes = clusters * coordinates, clusters * words_for(coordinates)
    plain = opening_cost(parties=access.parties, words=words)
    in_planes = opening_cost(parties=access.parties, words=WORD_BITS * planes)
    if not noisy:
        return Cost.none(), in_planes if in_bits else plain
    shares = sent_to_all_cost(parties=access.parties, words=words)
    if not in_bits:
        return Cost.none(), shares.then(plain)
    dealt = deal_numbers_cost(access, (clusters, 1, coordinates))
    adding = openings_cost(access, planes, add_layers(WORD_BITS))
    return dealt, shares.then(adding).then(in_planes).then(plain)
