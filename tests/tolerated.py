"""Clusters and faults of every registered policy and placement, and what was seen against what a verdict says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from bench.simulation.world import facts_of
from protocols.aggregators import aggregators
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.placements import PlacementView, placements
from protocols.testing import examples_of
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.verdict import Verdict
from protocols.types import Clustering

__all__ = ["MEDIAN", "PLACEMENTS", "POLICIES", "Seen", "clusters_and_faults"]

MEDIAN = aggregators.make(aggregators.resolve("median"))
POLICIES = {str(spec): spec for spec in examples_of(clusterings)}
PLACEMENTS = {str(spec): spec for spec in examples_of(placements)}


@st.composite
def clusters_and_faults(
    draw: st.DrawFn, conditions: Conditions, fitting: Sequence[int], policy_name: str | None = None
) -> tuple[Clustering, list[int]]:
    """What a registered policy makes of up to 12 processes, and whom a registered placement makes faulty."""
    size = draw(st.sampled_from(list(fitting)))
    n = size * draw(st.integers(1, 12 // size))
    policy = clusterings.make(POLICIES[policy_name or draw(st.sampled_from(sorted(POLICIES)))])
    placement = placements.make(PLACEMENTS[draw(st.sampled_from(sorted(PLACEMENTS)))])
    seed, moved = draw(st.integers(0, 99)), draw(st.booleans())
    population, f = facts_of(n, min(n, 3), seed), draw(st.integers(0, min(4, n - 1)))
    try:
        clustering = policy(population=population, cluster_size=size, seed=seed, round_index=int(moved))
    except CloisterError:  # a policy that cannot hide enough in so few processes
        clustering = Clustering(clusters=(tuple(range(n)),))
    assume(set(clustering.sizes) <= set(fitting))
    view = PlacementView(
        population=population,
        f=f,
        conditions=conditions,
        tolerate=MEDIAN.breakdown(len(clustering.clusters)),
        seed=seed,
        clustering=clustering,
    )
    mask = placement(view)
    if moved and int(mask.sum()) == f:
        mask = placement(replace(view, round_index=1, previous=mask))
    return clustering, np.flatnonzero(mask).tolist()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The clusters that delivered nothing, delivered what is wrong, or opened with one honest member."""

    lost: list[int]
    wrong: list[int]
    exposed: list[int]

    def broken(self, said: Verdict) -> str | None:
        """Return what was broken that was called safe."""
        if said.private and self.exposed:
            return f"clusters {self.exposed} open their sums with one honest member"
        if said.correct and len(self.wrong) + len(self.lost) > said.tolerate:
            return f"clusters {self.wrong} are wrong and {self.lost} lost, {said.tolerate} are tolerated"
        if said.live and len(self.lost) > said.tolerate:
            return f"clusters {self.lost} are lost, {said.tolerate} are tolerated"
        if not set(self.lost) <= set(said.lost):
            return f"clusters {self.lost} are lost; only {said.lost} were called so"
        if not set(self.wrong) <= set(said.tainted):
            return f"clusters {self.wrong} are wrong; only {said.tainted} were called so"
        return None
