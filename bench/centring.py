"""The public point from which a cluster's statistic counts, where it has one: the last aggregate, as everybody saw it.

Members subtract it from their words before they share them, each by itself, and whoever reads the result adds it
again: both are free, and nobody learns anything by it. A rule with memory in the clear starts from the same point.
"""

from dataclasses import replace

from torch import Tensor

from bench.compressing import given_in_code
from bench.given import previous_update
from bench.opening import Opened
from bench.setting import Federation
from protocols.aggregators import Given
from protocols.compression import PLAIN
from protocols.playable import cluster_protocols

__all__ = ["around_centre", "centre_of", "from_centre"]


def centre_of(federation: Federation, model: Tensor) -> Tensor | None:
    """Return the words (k,) of the last aggregate, rows of the round's code; None in a first round: then it is zero.

    None too where the protocol counts from no point, without a server, where there is no aggregate that all know, and
    where members' rows are no linear image of it.
    """
    counts = bool(cluster_protocols.entry(federation.protocol.name).facts.get("centred"))
    linear = federation.code is PLAIN or federation.compressor.linear
    previous = previous_update(federation, model) if counts and linear and federation.graph is None else None
    if previous is None:
        return None
    row = given_in_code(federation, Given(previous=previous)).previous
    assert row is not None
    return federation.ring.encode(federation.ring.saturate(row, terms=1), terms=1)


def from_centre(federation: Federation, words: Tensor) -> Tensor:
    """Return what members enter for the words (.., k): what they are more than the centre."""
    return words if federation.centre is None else words - federation.centre


def around_centre(federation: Federation, opened: Opened) -> Opened:
    """Return what opened with the centre added again to every mean."""
    if federation.centre is None:
        return opened
    return replace(opened, means=opened.means + federation.ring.decode(federation.centre))
