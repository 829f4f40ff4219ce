"""A value that somebody trusted gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.beacons import Company, Drawn, Occasion, beacons
from protocols.secret_source import Secrets
from protocols.types import Traffic


@beacons.register(source="Rabin 1983, Transaction protection by beacons, JCSS (a trusted source of random numbers)")
@dataclass(frozen=True, kw_only=True)
class Given:
    """A trusted beacon: the number that is given is taken as it is, and nobody sends anything.

    Threat model: whoever gives the number is trusted to have fixed it at random, after the faults were placed, and to
    have shown it to nobody before. No process can choose it, and none could tell if somebody else did.

    Guarantees:
        The value is the number that was given, at no cost, on every occasion.
    """

    def check_size(self, *, parties: int) -> None:
        """See Beacon.check_size: it suits any number of processes."""

    def draw(self, occasion: Occasion, company: Company, sources: Sequence[Secrets], *, given: int) -> Drawn:  # noqa: ARG002
        """See Beacon.draw."""
        return Drawn(value=given, qualified=(), suspects=frozenset(), traffic=Traffic.none())
