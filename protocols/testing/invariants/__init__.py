"""The invariants I1 to I45: what every part must guarantee, each with how it is checked."""

from protocols.testing.invariants import (
    agreement,
    conduct,
    correctness,
    faults,
    freshness,
    masks,
    models,
    secrecy,
    shares,
    tampering,
)
from protocols.testing.invariants.contract import (
    EFFORTS,
    Check,
    Effort,
    Evidence,
    Invariant,
    NotApplicable,
    Violation,
    effort_named,
)
from protocols.testing.invariants.house import ENUMERATIONS, HOUSE

__all__ = [
    "EFFORTS",
    "INVARIANTS",
    "PROTOCOL",
    "Check",
    "Effort",
    "Evidence",
    "Invariant",
    "NotApplicable",
    "Violation",
    "effort_named",
]

PROTOCOL: tuple[Invariant, ...] = (
    Invariant(number=1, title="Exact sum", check=correctness.adds_exactly),
    Invariant(number=2, title="No wrap-around", check=correctness.never_wraps_around),
    Invariant(number=3, title="Codec round trip", check=correctness.keeps_numbers),
    Invariant(number=5, title="Survivor accounting", check=correctness.counts_its_survivors),
    Invariant(number=6, title="Permutation equivariance", check=correctness.does_not_depend_on_places),
    Invariant(number=8, title="Any subset reconstructs", check=correctness.any_subset_opens_the_same),
    Invariant(number=9, title="Error correction radius", check=correctness.corrects_errors_within_its_radius),
    Invariant(number=10, title="Agreement under equivocation", check=agreement.agrees_under_equivocation),
    Invariant(
        number=12,
        title="Threshold secrecy",
        check=secrecy.hides_inputs,
        tests=ENUMERATIONS,
        note="of robust statistics' parts, of the range check and of what members hand the delegates of hidden sums",
    ),
    Invariant(number=13, title="Threshold tightness", check=secrecy.breaks_just_above_its_threshold),
    Invariant(number=14, title="Uniform shares", check=shares.looks_uniform),
    Invariant(number=15, title="Freshness", check=freshness.draws_nothing_twice),
    Invariant(number=16, title="Coordinate independence", check=shares.coordinates_are_independent),
    Invariant(number=17, title="Minimum honest contributors", check=faults.keeps_enough_honest_words),
    Invariant(number=19, title="No double unmask", check=masks.unmasks_once),
    Invariant(number=20, title="Connected mask graph", check=masks.mask_graph_stays_connected),
    Invariant(number=21, title="No selective failure", check=faults.does_not_fail_selectively),
    Invariant(number=22, title="Shape independence", check=conduct.sends_the_same_shapes),
    Invariant(number=23, title="Canary", check=freshness.shows_no_input),
    Invariant(number=24, title="Consistent global model", check=models.rejects_other_models),
    Invariant(number=25, title="Oracle equals protocol", check=faults.keeps_its_conditions),
    Invariant(number=26, title="Cluster tolerance", check=faults.stays_exact_within_its_tolerance),
    Invariant(number=30, title="Tamper detection", check=tampering.detects_tampering),
    Invariant(number=31, title="No framing", check=faults.frames_nobody),
    Invariant(number=32, title="Monotone oracle", check=faults.worsens_with_every_fault),
    Invariant(number=34, title="Termination", check=conduct.ends),
    Invariant(number=35, title="Isolation of clusters", check=conduct.clusters_stay_apart),
    Invariant(number=36, title="Restart bound", check=tampering.restarts_end),
    Invariant(number=44, title="Cost ledger", check=conduct.costs_what_it_says),
)
"""What every protocol must guarantee."""

INVARIANTS: tuple[Invariant, ...] = tuple(sorted((*PROTOCOL, *HOUSE), key=lambda each: each.number))
"""All of them, in the order of their numbers."""
