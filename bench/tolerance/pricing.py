"""What one round of sums costs: the cost model of designs."""

from dataclasses import dataclass

from protocols.playable import Playable
from protocols.tolerance.parts import Groups

__all__ = ["Price", "price"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """Of all clusters together: bytes on the wire a process, rounds one after the other, and secure comparisons.

    A comparison is one of two shared numbers, see protocols.types.Cost; sums need none.
    """

    wire_bytes_per_process: float
    rounds: int
    comparisons: int


def price(protocol: Playable, n: int, groups: Groups, coordinates: int) -> Price:
    """Return the price of one sum in all clusters: the protocol's formula.

    Raises: CloisterError where a cluster cannot run the protocol.
    """
    for size, _ in groups:
        protocol.check_size(parties=size)
    # Every cluster on its own: its members share no connection with another cluster's.
    traffics = [(count, protocol.cost(parties=size, clusters=1, coordinates=coordinates)) for size, count in groups]
    return Price(
        wire_bytes_per_process=sum(count * traffic.wire_bytes for count, traffic in traffics) / n,
        rounds=max(traffic.rounds for _, traffic in traffics),
        comparisons=sum(count * traffic.comparisons for count, traffic in traffics),
    )
