"""The members of a cluster, played by the processes of a pool, with a memory of their own of what they have sent."""

import weakref
from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from protocols.faulty_link import Fault
from protocols.model_digest import Models
from protocols.parties import NO_FAULTS, OpenedSums
from protocols.registry import Spec
from protocols.types import Traffic

__all__ = ["PartyCompany"]


class _Pool(Protocol):
    @property
    def spent(self) -> Traffic: ...

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,
        memory: int | None = None,
    ) -> OpenedSums: ...


class PartyCompany:
    """Parties of a pool who remember what they sent in batches of this company, and in no other one.

    A member whose messages nobody reads, as one that sends them twice, waits once they are more than its sockets hold,
    a few megabytes: until the deadline. What it would have sent after that is then not sent, and not counted.

    Guarantees:
        Its batches come to what they come to among threads (InProcessParties with `clean_links`): the same words where
            these do not depend on secret randomness, the same contributors, suspects and traffic, or a failure; as long
            as sockets hold what nobody reads.
        What its members remember is given up with it, and after a batch that failed or lost a party.
    """

    def __init__(self, pool: _Pool, memory: int, forget: Callable[[int], None]) -> None:
        self._pool = pool
        self._memory = memory
        weakref.finalize(self, forget, memory)

    @property
    def spent(self) -> Traffic:
        """See Parties.spent; the pool's last batch is what counts."""
        return self._pool.spent

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
        return self._pool.open_sums(protocol, words, number=number, faults=faults, models=models, memory=self._memory)
