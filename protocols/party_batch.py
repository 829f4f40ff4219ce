"""One batch of secure sums as a pool of party processes plays it: what each process is told, and the board's part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from protocols.check import CloisterError
from protocols.fault_values import values_of
from protocols.faults import Crash
from protocols.faulty_link import Fault
from protocols.model_digest import Models
from protocols.network import Link
from protocols.parties import check_batch
from protocols.registry import Spec
from protocols.secure_sum import Board

__all__ = ["PartyBatch"]


@dataclass(frozen=True, kw_only=True)
class PartyBatch:
    """Words (clusters, members, coordinates) to be added, the models that they are of, and the members' faults.

    `memory` names what the members remember of older batches; None: nothing.
    """

    protocol: Spec
    words: Tensor = field(repr=False)
    models: Models
    faults: Mapping[int, Fault]
    memory: int | None

    @classmethod
    def given(
        cls,
        protocol: Spec,
        words: Tensor,
        models: Models | None,
        faults: Mapping[int, Fault],
        *,
        memory: int | None,
        most_parties: int,
    ) -> "PartyBatch":
        """Return the batch. Raises: CloisterError for words, models or faults that cannot be played."""
        _, members, _ = check_batch(protocol, words, most_parties)
        for slot, fault in faults.items():
            if not 0 <= slot < most_parties:
                raise CloisterError(
                    f"fault {fault} of party {slot} is not allowed among party processes; allowed: faults of parties 0 "
                    f"to {most_parties - 1} (the board is the pool's own process)"
                )
            values_of(fault)
        return cls(
            protocol=protocol, words=words, models=Models.given(models, members=members), faults=faults, memory=memory
        )

    @property
    def members(self) -> int:
        """How many parties play in it."""
        return self.words.shape[1]

    @property
    def misbehaves(self) -> bool:
        """Whether some party does worse than crash."""
        return not all(isinstance(fault, Crash) for fault in self.faults.values())

    def order(self, slot: int, *, use: int) -> dict[str, Any]:
        """Return what the process of that member is told, but for its words."""
        clusters, members, coordinates = self.words.shape
        fault = self.faults.get(slot)
        return {
            "order": "play",
            "protocol": self.protocol.name,
            "parameters": self.protocol.parameters,
            "use": use,
            "clusters": clusters,
            "members": members,
            "coordinates": coordinates,
            "model": self.models.held[slot].hex(),
            "fault": None if fault is None else values_of(fault),
            "memory": self.memory,
        }

    def board(self, link: Link, *, use: int) -> Board:
        """Return the board of the batch."""
        clusters, members, coordinates = self.words.shape
        return Board(
            link=link,
            parties=members,
            use=use,
            clusters=clusters,
            coordinates=coordinates,
            model=self.models.announced,
        )
