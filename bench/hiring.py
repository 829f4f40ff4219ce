"""Who plays the clusters in which somebody misbehaves: threads in virtual time, or party processes over TCP.

Both run the same code with the same faults, send the same bytes and open the same words, so that this is no part of a
cell. Among threads a silent member costs no time; among processes the others wait for it as long as `--deadline` says,
and `mpc_s` holds that. Three things are not the same to the bit. Words that are wrong because shares were mixed up
depend on the shares, which no run repeats, here or there. The seconds of a delay are those of a run whose members
wait for VIRTUAL_DEADLINE_S; processes that wait longer or less are late by as much more or less, so that the same
messages come too late. And who sends megabytes that nobody reads is stuck until the deadline, see PartyCompany.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from torch import Tensor

from protocols.faults import Combined, Delay
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.model_digest import Models
from protocols.parties import NO_FAULTS, OpenedSums, Parties
from protocols.party_company import PartyCompany
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.types import Traffic

__all__ = ["VIRTUAL_DEADLINE_S", "Hire", "Processes", "Threads", "stretched"]

VIRTUAL_DEADLINE_S = 60.0


class Hire(Protocol):
    """Has the parties that play a cluster, and remember what they have sent in it."""

    name: ClassVar[str]
    """How rows call such parties."""

    def __call__(self, members: int) -> Parties:
        """Return the parties for a cluster of so many members."""
        ...


@dataclass(frozen=True, kw_only=True)
class Threads:
    """Has party threads of this process."""

    name: ClassVar[str] = "threads"

    def __call__(self, members: int) -> Parties:
        """See Hire."""
        return InProcessParties(members, deadline_s=VIRTUAL_DEADLINE_S, faults={}, clean_links=True)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Has the processes of a pool, which talk over TCP."""

    name: ClassVar[str] = "processes"
    pool: PartyPool

    def __call__(self, members: int) -> Parties:  # noqa: ARG002
        """See Hire."""
        return _Stretching(company=self.pool.company(), factor=self.pool.deadline_s / VIRTUAL_DEADLINE_S)


@dataclass(frozen=True, kw_only=True)
class _Stretching:
    """The members of a cluster, whose delays are longer or shorter by a factor."""

    company: PartyCompany
    factor: float

    @property
    def spent(self) -> Traffic:
        """See Parties.spent."""
        return self.company.spent

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,
    ) -> OpenedSums:
        """See Parties.open_sums."""
        faults = {place: stretched(fault, self.factor) for place, fault in faults.items()}
        return self.company.open_sums(protocol, words, number=number, faults=faults, models=models)


def stretched(fault: Fault, factor: float) -> Fault:
    """Return the fault with delays longer by a factor."""
    if isinstance(fault, Delay):
        return replace(fault, seconds=fault.seconds * factor)
    if isinstance(fault, Combined):
        return replace(fault, faults=tuple(stretched(each, factor) for each in fault.faults))
    return fault
