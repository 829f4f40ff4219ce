"""The columns of a cell's row, and the points of its learning curve, from what its rounds came to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.cell import Cell
from bench.churning import CHURNED
from bench.judging import judged
from bench.measures import measures, recovery
from bench.metrics import Score, by_class_columns
from bench.misconduct import misconduct_columns
from bench.outcome import RoundOutcome
from bench.setting import Federation
from protocols.privacy import mechanisms
from protocols.privacy.ledger import Ledger

__all__ = ["columns_of", "point_of"]


def point_of(number: int, scored: Score, outcomes: Sequence[RoundOutcome], seconds: float) -> dict[str, Any]:
    """Return the curve's point after round `number`, which counts from 1; the loss is None where it is not finite."""
    return {
        "round": number,
        "accuracy": scored.accuracy,
        "loss": _finite(scored.loss),
        "bytes": sum(outcome.wire_bytes for outcome in outcomes),
        "seconds": seconds,
    }


def columns_of(
    cell: Cell,
    federation: Federation,
    final: Score,
    outcomes: Sequence[RoundOutcome],
    *,
    ledger: Ledger,
    curve: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the columns that follow from the last score, all outcomes and the curve; None where no round was run."""
    return {
        **_results(cell, federation, final, outcomes, ledger),
        **misconduct_columns(
            [outcome.named for outcome in outcomes],
            [outcome.lost_bytes for outcome in outcomes],
            [outcome.byzantine for outcome in outcomes],
        ),
        **by_class_columns(final),
        **measures(
            [outcome.deviation for outcome in outcomes],
            [outcome.excluded for outcome in outcomes],
            recovery(curve, federation.parts, cell.rounds),
        ),
    }


def _results(
    cell: Cell, federation: Federation, final: Score, outcomes: Sequence[RoundOutcome], ledger: Ledger
) -> dict[str, Any]:
    delta = mechanisms.make(cell.privacy).delta
    total_bytes = sum(outcome.wire_bytes for outcome in outcomes)
    return {
        "accuracy": final.accuracy,
        "loss": _finite(final.loss),
        "attack_success": final.attack_success,
        "epsilon": str(math.inf if delta is None else ledger.epsilon(delta)) if outcomes else None,
        "delta": delta,
        "epsilon_leaves_out": "" if delta is None else _left_out_of_epsilon(federation),
        "clusters": max((outcome.clusters for outcome in outcomes), default=None),
        "tainted_clusters": max((outcome.tainted_clusters for outcome in outcomes), default=None),
        "failed_clusters": sum(outcome.failed_clusters for outcome in outcomes),
        "tolerated_clusters": min((outcome.tolerated_clusters for outcome in outcomes), default=None),
        "parameters": federation.network.dimension,
        "coordinates": federation.coordinates,
        "bytes_total": total_bytes,
        "bytes_offline": sum(outcome.traffic.offline.wire_bytes for outcome in outcomes),
        "bytes_mpc": sum(outcome.traffic.mpc.wire_bytes for outcome in outcomes),
        "bytes_upload": sum(outcome.traffic.upload.wire_bytes for outcome in outcomes),
        "bytes_exchange": sum(outcome.exchange_bytes for outcome in outcomes),
        "bytes_beacon": sum(outcome.drawn.wire_bytes for outcome in outcomes),
        **(dict.fromkeys(CHURNED, 0) if federation.churning is None else federation.churning.columns),
        "bytes_per_process_round": total_bytes / (cell.participants * len(outcomes)) if outcomes else None,
        "mpc_rounds": sum(outcome.traffic.mpc.rounds for outcome in outcomes),
        **judged(outcomes),
        "sum_exact": all(outcome.sum_exact for outcome in outcomes) if outcomes else None,
        "train_s": sum(outcome.train_s for outcome in outcomes),
        "mpc_s": sum(outcome.mpc_s for outcome in outcomes),
    }


def _left_out_of_epsilon(federation: Federation) -> str:
    """Return what processes tell that no noise hides and epsilon does not count, in words."""
    reasons: list[str] = []
    if "features" in federation.policy.needs:
        reasons.append("label shares, which clusters are formed by")
    if _may_wrap(federation):
        reasons.append("what a Byzantine member may learn by bringing its cluster's sum to where it wraps around")
    return "; ".join(reasons)


def _may_wrap(federation: Federation) -> bool:
    """Whether noise comes after sums modulo the ring, of which a member with an input of its choice shares one.

    An opened sum is decoded, and a hidden one is ordered by the median and the trimmed mean, before the noise is added:
    where it is about to wrap around, another member's least change shows. The mean of hidden sums wraps around as a
    whole, with its noise. Where inputs are shown to be in range before they are added, no sum wraps around.
    """
    after = bool(federation.mechanism.result_std(1.0, federation.data.n))
    shared = bool(federation.faulty.any()) and federation.cluster_size > 1
    if federation.in_range:
        return False
    return after and shared and not (federation.hidden and federation.rule_spec.name == "mean")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
