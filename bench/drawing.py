"""Drawing the public seeds of a cell's clusterings: given, or by a beacon that the cell's processes run."""

import time

from bench.cell import Cell
from protocols.beacons import Company, Drawn, Occasion, beacons
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.in_process import InProcessParties
from protocols.randomness import SecretStreams
from protocols.secret_source import OwnSecrets
from protocols.types import Traffic

__all__ = ["Draws", "parties_to_draw", "unfit_beacon"]


class Draws:
    """The seeds of a cell's clusterings, each drawn when clusters are first formed with it, then kept.

    All `n` processes run the beacon before each round in which the policy draws other clusters (once for policies that
    keep company: a new value would part whom they keep together). They follow it: that up to t of them cannot change
    its law is for its own tests. A run is to be replayable, so their contributions follow from the cell's seed, as its
    noise does; they are the same in all cells of one seed, as these cells' clusters are where the seed is given.

    Guarantees:
        The same cell draws the same seeds, among processes or threads.
        A round's traffic is that of the draw which it is the first to need.
    """

    def __init__(self, cell: Cell, company: Company | None) -> None:
        self._beacon = beacons.make(cell.beacon)
        self._every = _every(cell)
        self._seed = cell.seed
        processes = range(parties_to_draw(cell))
        self._sources = [OwnSecrets(SecretStreams.replayable(cell.seed, "beacon", process)) for process in processes]
        self._company = company
        self._drawn: dict[int, Drawn] = {}
        self.seconds = 0.0

    def seed(self, round_index: int) -> int:
        """Return the seed of a round's clusters. Raises: NetworkError when the processes cannot draw it."""
        period = self._period(round_index)
        if period not in self._drawn:
            started = time.perf_counter()
            self._drawn[period] = self._draw(period)
            self.seconds += time.perf_counter() - started if self._sources else 0.0
        return self._drawn[period].value

    def _draw(self, period: int) -> Drawn:
        if self._company is None:
            self._company = InProcessParties(max(len(self._sources), 1))
        occasion = Occasion(purpose="clustering", number=period)
        return self._beacon.draw(occasion, self._company, self._sources, given=self._seed)

    def _period(self, round_index: int) -> int:
        return round_index // self._every if self._every else 0

    def traffic(self, round_index: int) -> Traffic:
        """Return what was sent for the clusters of this round, and not of an earlier one."""
        period = self._period(round_index)
        is_first = round_index == period * self._every
        return self._drawn[period].traffic if is_first and period in self._drawn else Traffic.none()


def parties_to_draw(cell: Cell) -> int:
    """Return how many processes run the cell's beacon: all, or none where its seed is given."""
    return cell.n if beacons.entry(cell.beacon.name).facts.get("run") else 0


def unfit_beacon(cell: Cell) -> str | None:
    """Return why the cell's processes cannot run its beacon, in words, or None."""
    try:
        beacons.make(cell.beacon).check_size(parties=cell.n)
    except CloisterError as error:
        return f"{cell.beacon.name}: {error}"
    return None


def _every(cell: Cell) -> int:
    """Return after how many rounds the policy draws other clusters; 0: never, or only some of them."""
    if clusterings.entry(cell.clustering.name).facts.get("keeps_company"):
        return 0
    every = dict(cell.clustering.parameters).get("every", 0)
    return every if isinstance(every, int) else 0
