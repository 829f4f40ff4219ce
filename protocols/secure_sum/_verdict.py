"""What faults at given places do to one run of a protocol in which it matters who has a seat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["RULES", "Rules", "Seated", "Verdict"]


class Verdict(NamedTuple):
    """Whether a run is private, its sum (if any) correct, and whether it delivers one: whatever the faulty do."""

    private: bool
    correct: bool
    live: bool


@dataclass(frozen=True, kw_only=True)
class Seated:
    """Faults at their places in one batch of a committee's sums: A = B + P collude, K crash, H do as they should.

    `least`: how many inputs a sum that opens must have.
    """

    parties: int
    servers: frozenset[int]
    threshold: int
    least: int
    byzantine: frozenset[int]
    crashed: frozenset[int]
    curious: frozenset[int]

    @property
    def bad(self) -> int:
        """The number of Byzantine servers."""
        return len(self.byzantine & self.servers)

    @property
    def gone(self) -> int:
        """The number of servers that crash."""
        return len(self.crashed & self.servers)

    @property
    def spare(self) -> int:
        """How many servers there are beyond those that determine a sum."""
        return len(self.servers) - self.threshold - 1

    @property
    def colluding(self) -> frozenset[int]:
        """Who pools what it sees."""
        return self.byzantine | self.curious

    @property
    def honest(self) -> frozenset[int]:
        """Who has no fault."""
        return frozenset(range(self.parties)) - self.colluding - self.crashed

    def verdict(self, rules: "Rules") -> Verdict:
        """Return the verdict under the rules of a mode."""
        enough_inputs = self.parties - len(self.byzantine | self.crashed) >= self.least
        return Verdict(
            private=self._private(rules),
            correct=self.bad == 0 or rules.correct(self),
            live=rules.live(self) and enough_inputs,
        )

    def _private(self, rules: "Rules") -> bool:
        exposable = self.honest | self.crashed
        if len(self.colluding & self.servers) > self.threshold:
            return not exposable
        # A sum of the coalition's words and one more shows that one; it opens if the coalition is large enough.
        opens = len(self.colluding) + 1 >= self.least
        return not (opens and (self._one_is_left() or (bool(exposable) and rules.isolates(self))))

    def _one_is_left(self) -> bool:
        """Whether one member may be left beside the coalition, a server without which its t servers open nothing."""
        last = self.honest or self.crashed
        alone = len(self.honest) == 1 or (not self.honest and bool(self.crashed))
        return alone and len(self.colluding & self.servers) == self.threshold and bool(last & self.servers)

    def first_sums_are_right(self) -> bool:
        """Whether more than t servers that stay come before each Byzantine one: the first t + 1 sums are opened."""
        stay = self.servers - self.byzantine - self.crashed
        return all(sum(server < bad for server in stay) > self.threshold for bad in self.byzantine & self.servers)

    def errors_uncorrected(self) -> bool:
        """Whether Byzantine servers are more than are corrected once enough others have crashed."""
        return self.bad > (self.spare - min(self.gone, self.spare)) // 2


@dataclass(frozen=True, kw_only=True)
class Rules:
    """One mode: when it delivers (with enough inputs), when Byzantine servers cannot have a wrong sum opened, and
    when they can have all but one honest member left out."""

    live: Callable[[Seated], bool]
    correct: Callable[[Seated], bool]
    isolates: Callable[[Seated], bool]


RULES: Mapping[str, Rules] = MappingProxyType(
    {
        "passive": Rules(
            live=lambda at: at.bad == 0 and at.gone <= at.spare,
            correct=lambda at: at.first_sums_are_right(),
            isolates=lambda at: at.bad > 0,
        ),
        "detect": Rules(
            live=lambda at: not at.byzantine and at.gone <= at.spare,
            correct=lambda at: at.bad + at.gone <= at.spare,
            isolates=lambda at: False,  # noqa: ARG005
        ),
        "correct": Rules(
            live=lambda at: 2 * at.bad + at.gone <= at.spare,
            # One fault too many and nothing can be decoded; with two, another sum may be nearer.
            correct=lambda at: 2 * at.bad + at.gone <= at.spare + 1,
            isolates=lambda at: at.errors_uncorrected(),
        ),
    }
)
