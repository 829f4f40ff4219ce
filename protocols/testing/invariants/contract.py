"""What an invariant is: a number, a title, and for protocols a check that returns evidence or raises a violation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from protocols import check
from protocols.registry import Spec

__all__ = ["EFFORTS", "Check", "Effort", "Evidence", "Invariant", "NotApplicable", "Violation", "effort_named"]

How = Literal["exact", "property", "statistical"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is tried: the largest cluster, runs with one and with several faulty members, random cases without
    any, how many clusters are enumerated and sampled, how many words of each share a sampled cluster has, at least,
    runs of each occupancy by faults, and at most how many schedules of each small cluster without a fault, and of all
    with one."""

    name: str
    members: int
    single: int
    several: int
    cases: int
    rows: int
    samples: int
    words: int
    occupancy: int
    schedules: int
    failing: int


EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "dev": Effort(
            name="dev",
            members=4,
            single=15,
            several=6,
            cases=4,
            rows=2**12,
            samples=2**14,
            words=6,
            occupancy=1,
            schedules=190,
            failing=30,
        ),
        "ci": Effort(
            name="ci",
            members=5,
            single=45,
            several=20,
            cases=10,
            rows=2**14,
            samples=2**16,
            words=3,
            occupancy=4,
            schedules=700,
            failing=150,
        ),
        "nightly": Effort(
            name="nightly",
            members=8,
            single=4000,
            several=2000,
            cases=400,
            rows=2**22,
            samples=2**18,
            words=3,
            occupancy=20,
            schedules=3000,
            failing=3000,
        ),
    }
)


def effort_named(name: str) -> Effort:
    """Return the effort of that name; CloisterError otherwise."""
    check.one_of(EFFORTS, effort=name)
    return EFFORTS[name]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why an invariant is taken to hold: by exhaustion, on examples, or statistically; on how many cases."""

    how: How
    cases: int
    text: str

    def __post_init__(self) -> None:
        check.integer_at_least(1, cases=self.cases)  # a check that tried nothing says nothing


@dataclass(frozen=True, kw_only=True)
class NotApplicable:
    """Why an invariant says nothing about a protocol."""

    reason: str


class Violation(AssertionError):  # noqa: N818 - the word of the trade
    """An invariant does not hold; `text` says how, `replay` is a line that shows it again."""

    def __init__(self, text: str, *, replay: str) -> None:
        super().__init__(f"{text}\nreplay: {replay}")
        self.text = text
        self.replay = replay


Check = Callable[[Spec, Effort], Evidence | NotApplicable]


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """One promise. Protocols have a `check`; where it concerns other parts of this repository, it names their tests.

    `evidence`: what shows it again where its tests have passed, and counts the cases for the report. `pending`: the
    number of the issue that it waits for, in whole or in part.
    """

    number: int
    title: str
    check: Check | None = None
    tests: tuple[str, ...] = ()
    evidence: Callable[[], Evidence] | None = None
    pending: int | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """How reports and tests call it."""
        return f"I{self.number}"

    @property
    def applies_to(self) -> Literal["protocol", "house"]:
        """Whether protocols are checked, or other parts of this repository."""
        return "house" if self.check is None else "protocol"
