"""Cluster sums that nobody sees: only what an outer rule makes of them opens, one protocol a file.

A robust statistic (`protocols.secure_robust`) combines the inputs of single members; here all clusters of a round play
together: each adds its members' words, its sum stays shared, and a rule of `rules` combines the sums under encryption.
"""

from collections.abc import Collection, Sequence, Set
from typing import Protocol

from protocols.registry import Registry
from protocols.secure_robust import RobustStatistic
from protocols.tolerance.conditions import Conditions

__all__ = ["HiddenSums", "hidden_sums"]


class HiddenSums(RobustStatistic, Protocol):
    """Opens what an outer rule makes of the sums of groups of a cluster's members, which are its ranks in order.

    Its parameters `group_size`, `outer`, `tolerate` and `noise_std` say how large the groups are, which aggregator is
    the rule, how many tainted groups that is told to withstand, and how much noise opens with the result.
    """

    @property
    def deviating_conditions(self) -> Conditions:
        """What it tolerates where Byzantine members depart from the protocol, too."""
        ...

    @property
    def group_conditions(self) -> Conditions:
        """What faulty members of a group do to that group; the delegates' part is `exposes`."""
        ...

    @property
    def checks_inputs(self) -> bool:
        """Whether members' inputs are shown to be in range before they are added, so that no sum wraps around."""
        ...

    def limit(self, *, parties: int) -> int:
        """Return the bits of that range for so many members: words -2^limit .. 2^limit - 1 pass."""
        ...

    @property
    def least_groups(self) -> int:
        """How many groups have to be left for anything to open."""
        ...

    def check_groups(self, *, groups: int) -> None:
        """Raise CloisterError where so many complete groups are too few."""
        ...

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]:
        """Return the members of each group whose sum the rule combines, which are the ranks in order."""
        ...

    def exposes(
        self, groups: Sequence[Sequence[int]], colluding: Set[int], *, deviating: Set[int] = frozenset()
    ) -> bool:
        """Return whether these may learn an input of somebody else in these complete groups, whoever serves.

        The groups are in order, larger ones first. `deviating` members of the coalition depart from the protocol.
        """
        ...

    def deceives(self, groups: Sequence[Sequence[int]], deviating: Set[int]) -> bool:
        """Return whether these, who depart from the protocol, may open another result unseen, whoever serves.

        What members make of their own group's sum is no other result.
        """
        ...

    def exposed(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> frozenset[int]:
        """Return the members of whom these learn the input in batch number `use`.

        Where inputs are checked these may have any of their groups left out: what they may so learn counts.
        """
        ...

    def protection(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> float:
        """Return how much of the noise that is asked for these do not know in that batch; 0: they know the sums."""
        ...

    def noise_bound(self, *, parties: int) -> int:
        """Return how far, in units, noise moves an opened word of so many contributors at most."""
        ...


hidden_sums: Registry[HiddenSums] = Registry("hidden sum", ("protocols.hidden_sums",), "cloister.hidden_sums")
