"""What many clusters with equal inputs show of the words on the wire: chi-squared tests, their false alarms and power.

Each cluster has randomness of its own, and so is a sample. The words at one place of a message, in all clusters, make
one test; all words of a message together make another one, with as many samples as it has places times the clusters.
That one needs no more than that any two places are independent, as any two differences of independent words are: the
counts of bins then have the variances and covariances of those of independent words, and as they are sums over
independent clusters, the statistic has its chi-squared law in the limit of many clusters. A protocol whose places are
not independent in pairs violates I16, whatever makes its test fail.

False alarms: half of 1e-6 is shared by the tests of places, half by those of messages, and only a test that fails in
two runs, on keys of their own, is a violation: by the union bound at most 1e-6 of all runs fail a test, and at most
1e-12 the same one twice. Power: `detectable_deviation` of the number of samples is seen with probability 0.999 in a
run, so 0.998 in both; the evidence says it in per cent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.in_process import InProcessParties
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Views, views_of
from protocols.testing.invariants.campaign import forget_also
from protocols.testing.invariants.contract import Effort, Violation
from protocols.testing.invariants.runs import scenario_of, suite_line
from protocols.testing.invariants.uniformity import (
    detectable_deviation,
    highest_chances,
    highest_parts,
    lowest_chances,
    lowest_parts,
    p_values,
    part_counts,
)
from protocols.testing.keyrings import replayable_keyring

__all__ = ["Sampled", "Tests", "sampled"]

_ALPHA = 1e-6
"""Of one run of all tests of an invariant."""
_SEEDS = (11, 12)
_LAGS = (1, 2)

Sampled = Literal["I14", "I16"]


@dataclass(frozen=True, kw_only=True)
class Tests:
    """The chi-squared tests of one invariant in one run: name -> p-value, of places and of whole messages.

    `samples` are the words at a place, `fewest` and `most` those of the messages with the fewest and the most.
    """

    places: dict[str, float]
    messages: dict[str, float]
    samples: int
    fewest: int
    most: int

    @property
    def count(self) -> int:
        """The number of tests."""
        return len(self.places) + len(self.messages)

    @property
    def low(self) -> set[str]:
        """The tests that fail: half of the level is for all places, half for all messages."""
        return {
            name for tests in (self.places, self.messages) for name, p in tests.items() if p < _level_of(len(tests))
        }

    @property
    def text(self) -> str:
        """What the tests are, and which deviation they see."""
        if not self.count:
            return "no random word to sample"
        place = detectable_deviation(samples=self.samples, level=_level_of(len(self.places)))
        few, many = (
            detectable_deviation(samples=each, level=_level_of(len(self.messages))) for each in (self.fewest, self.most)
        )
        seen = f"{few:.1%} in the {self.fewest:,} of a message"
        if self.fewest < self.most:
            longest = f"{many:.1%} in the {self.most:,} of the longest message"
            seen = f"{longest}, {few:.1%} in the {self.fewest:,} of the shortest"
        said = f"{seen}, {place:.1%} in the {self.samples:,} at one place"
        return f"{self.count} chi-squared tests, which see a deviation of words of {said}".replace("%", " %")


def _level_of(tests: int) -> float:
    return _ALPHA / 2 / tests


def sampled(spec: Spec, parties: int, effort: Effort, invariant: Sampled) -> Tests:
    """Test what many clusters with equal inputs show; a test that fails twice, on other keys, is a violation.

    Returns the tests of the first run.
    """
    first = _tests_of(spec, parties, effort.samples, effort.words, _SEEDS[0])[invariant]
    if not first.low:
        return first
    failed = first.low & _tests_of(spec, parties, effort.samples, effort.words, _SEEDS[1])[invariant].low
    if not failed:
        return first
    raise Violation(
        f"{spec}: the {min(failed)} are not uniform in {effort.samples} clusters; {len(failed)} of {first.count} tests "
        f"fail twice",
        replay=suite_line(spec, invariant),
    )


@cache
def _tests_of(spec: Spec, parties: int, clusters: int, words: int, seed: int) -> dict[Sampled, Tests]:
    """Return the tests of both invariants on one run, in which everybody gets so many words of each share, at least."""
    modulus = secure_sums.make(spec).ring.modulus
    views = _equal_inputs(spec, parties, clusters, words, seed)
    marginals, differences = _Collected(clusters), _Collected(clusters)
    for block in _blocks(views, modulus):
        marginals.add(block.words, block.size, f"words in {block.name}")
        for lag in _LAGS:
            differences.add(block.differences(lag), block.size, f"differences of words {lag} apart in {block.name}")
    return {"I14": marginals.tests, "I16": differences.tests}


forget_also(_tests_of.cache_clear)


def _equal_inputs(spec: Spec, parties: int, clusters: int, words: int, seed: int) -> Views:
    """Return the views of a run in which every cluster has the same words.

    Of each share everybody gets at least `words` words: who collects the sums of a part of the coordinates only gets
    the shares of one in `parties`.
    """
    count = clusters + 7  # a number that no other axis has
    inputs = scenario_of(spec, parties, seed=5).words()[:1, :, :1].expand(count, -1, words * parties).contiguous()
    threads = InProcessParties(parties, keyring=replayable_keyring(seed))
    threads.open_sums(spec, inputs)
    heard = {rank: [(each.sender, each.payload) for each in got] for rank, got in threads.transcripts.items()}
    return views_of(heard, count, clusters)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The words (samples, places) of one message that are not the same in all clusters, as residues modulo `size`."""

    name: str
    words: NDArray[np.uint64]
    size: int

    def differences(self, lag: int) -> NDArray[np.uint64]:
        """Return the differences (samples, places - lag) of words so many places apart, as residues."""
        left, right = self.words[:, :-lag], self.words[:, lag:]
        if self.size == 2**64:
            return left - right  # unsigned words wrap by themselves
        return np.where(left >= right, left - right, left - right + np.uint64(self.size))


def _blocks(views: Views, modulus: int) -> Iterator[_Block]:
    """Yield the random words of each message; those that are equal in all clusters are public, or sums.

    Equal in the protocol's ring: what opens a sum may be words that were added without being reduced.
    """
    for number in dict.fromkeys(views.messages):
        columns = [column for column, message in enumerate(views.messages) if message == number]
        words = views.words[:, columns]
        sizes = _sizes_of(words, modulus)
        random = [place for place, column in enumerate(words.T) if not _is_public(column, modulus)]
        for size in dict.fromkeys(sizes[place] for place in random):
            chosen = words[:, [place for place in random if sizes[place] == size]]
            sender, receiver = views.senders[columns[0]], views.receivers[columns[0]]
            name = f"message {number} from {sender} to {receiver}, modulo {size}"
            yield _Block(name=name, words=_residues(chosen, size), size=size)


def _is_public(column: NDArray[np.int64], modulus: int) -> bool:
    differences = column - column[0]
    return not bool((differences if modulus >= 2**63 else differences % modulus).any())


def _sizes_of(words: NDArray[np.int64], modulus: int) -> Sequence[int]:
    """Return the modulus of each place: the protocol's, else 2^32 or 2^64 where its words do not stay inside."""
    least, most = words.min(axis=0), words.max(axis=0)
    inside = [size for size in (modulus, 2**32) if modulus <= size < 2**63]
    return [
        next((size for size in inside if low >= -(size // 2) and high < size), 2**64)
        for low, high in zip(least.tolist(), most.tolist(), strict=True)
    ]


def _residues(words: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    return words.view(np.uint64) if size == 2**64 else np.where(words < 0, words + size, words).astype(np.uint64)


class _Collected:
    """Tests as they come, message by message."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._places: dict[str, float] = {}
        self._messages: dict[str, float] = {}
        self._words: list[int] = []

    def add(self, words: NDArray[np.uint64], size: int, name: str) -> None:
        """Test words (samples, places) by their highest and their lowest parts."""
        if not words.size:
            return
        self._words.append(words.size)
        for which, parts, chances in (
            ("highest", highest_parts(words, size), highest_chances(size)),
            ("lowest", lowest_parts(words, size), lowest_chances(size)),
        ):
            counts = part_counts(parts)
            values = enumerate(p_values(counts, chances).tolist())
            self._places.update({f"{which} parts of {name}, at place {place}": p for place, p in values})
            self._messages[f"{which} parts of {name}"] = float(p_values(counts.sum(axis=0)[None], chances)[0])

    @property
    def tests(self) -> Tests:
        fewest, most = min(self._words, default=0), max(self._words, default=0)
        samples = self._samples
        return Tests(places=self._places, messages=self._messages, samples=samples, fewest=fewest, most=most)
