"""The outcome of a simulation: what was predicted, what was counted, for machines and for people."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.chain import chain_label
from bench.simulation.disclosing import MOST_EXACT, Revealed, revealed, static_disclosure
from bench.simulation.epoch import Tally, run_epoch
from bench.simulation.forecast import SIDES, Forecast, forecast, interval
from bench.simulation.request import Request
from bench.simulation.roundlog import RoundLog
from bench.tolerance.wording import shown, threshold_words
from protocols.tolerance.group_testing import rounds_until_identified
from protocols.tolerance.parts import clusters_of

__all__ = ["Outcome", "describe", "simulate"]

_COMPARED = ("random", "sticky")
_QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One simulation with its forecasts; those to identify and to disclose are drawings of fresh partitions."""

    request: Request
    tally: Tally
    forecast: Forecast
    identify_forecast: int | None
    disclose_forecast: int | None
    revealed: tuple[Revealed, ...]
    seconds: float

    @property
    def mean_broken(self) -> tuple[float, float]:
        """The mean of K over the counted drawings, and its standard error (0 for a single drawing)."""
        counts = self.tally.broken
        total, k = int(counts.sum()), np.arange(len(counts))
        if not total:
            return 0.0, 0.0
        mean = float((counts * k).sum() / total)
        spread = float((counts * (k - mean) ** 2).sum())
        return mean, (spread / (total - 1) / total) ** 0.5 if total > 1 else 0.0

    def tail(self, k: int) -> int:
        """Return in how many counted drawings more than k clusters were broken."""
        return int(self.tally.broken[k + 1 :].sum())

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for machines, probabilities at full precision."""
        asked, tally, law = self.request.question, self.tally, self.forecast
        mean, error = self.mean_broken
        churn = tally.churn
        return {
            "n": asked.faults.n,
            "faulty": asked.faults.byzantine,
            "crash": asked.faults.crashed,
            "curious": asked.faults.curious,
            "cluster_size": self.request.cluster_size,
            "protocol": asked.conditions.protocol,
            "mode": asked.conditions.mode,
            "threshold": asked.conditions.threshold,
            "least_honest": asked.conditions.least_honest or None,
            "policy": asked.policy,
            "placement": asked.placement,
            "aggregator": asked.aggregator,
            "pre": chain_label(asked.pre, str),
            "rounds": tally.rounds,
            "every": self.request.period,
            "drawings": tally.drawings,
            "drawings_counted": tally.counted,
            "drawings_independent": law.independent,
            "forecast_exact": law.exact,
            "sides": {side: self._side(side) for side in SIDES},
            "broken_clusters": {
                "mean": mean,
                "standard_error": error,
                "mean_predicted": law.mean_broken,
                "counts": {str(k): int(count) for k, count in enumerate(tally.broken) if count},
                "tail": [
                    {"more_than": k, "observed": self.tail(k) / max(1, tally.counted), "predicted": p}
                    for k, p in law.tail.items()
                ],
            },
            "churn": {
                "joined": churn.joined,
                "left": churn.left,
                "seated": churn.seated,
                "unseated": churn.unseated,
                "moved": churn.moved,
                "moves_per_event": churn.moved / max(1, churn.seated + churn.unseated),
                "cluster_sizes": [tally.smallest, tally.largest],
                "processes": [tally.fewest, tally.most],
            },
            "identify": self._identified(),
            "seconds": self.seconds,
        }

    def _side(self, side: str) -> dict[str, Any]:
        tally, law = self.tally, self.forecast
        low, high = interval(tally.failed_drawings[side], tally.counted) if tally.counted else (0.0, 1.0)
        epoch = law.epoch[side] if law.epoch else None
        return {
            "observed": tally.failed_drawings[side] / tally.counted if tally.counted else None,
            "interval": [low, high],
            "predicted": law.sides[side][1],
            "predicted_bounds": list(law.sides[side]),
            "inside": law.sides[side][0] <= high and low <= law.sides[side][1],
            "rounds_failed": tally.failed[side],
            "first_failure": tally.first_failure[side],
            "predicted_over_rounds": epoch[1] if epoch else None,
            "predicted_over_rounds_bounds": list(epoch) if epoch else None,
        }

    def _identified(self) -> dict[str, Any] | None:
        tally, found = self.tally, self.tally.screening
        if found is None:
            return None
        return {
            "test_error": self.request.test_error,
            "rounds_until_identified": found.right_since,
            "first_right": found.first_right,
            "rounds_until_identified_predicted": self.identify_forecast,
            "suspects": tally.suspects,
            "honest_suspects": tally.honest_suspects,
            "missed": tally.missed,
            "convicted": int(np.count_nonzero(found.convicted)),
            "rounds_until_disclosed_predicted": self.disclose_forecast,
            "disclosure": [asdict(each) for each in self.revealed],
        }


def simulate(asked: Request, *, log: RoundLog | None = None, tick: Callable[[], None] = lambda: None) -> Outcome:
    """Run a simulation and set the forecast beside it.

    Guarantees:
        The same request gives the same outcome, but for `seconds`.
    """
    started = time.perf_counter()
    tally = run_epoch(asked, log, tick)
    tails = _tails(tally) if len(tally.compositions) == 1 else []
    law = forecast(asked, list(tally.compositions), max(1, tally.counted), tails)
    return Outcome(
        request=asked,
        tally=tally,
        forecast=law,
        identify_forecast=_identify_forecast(asked),
        disclose_forecast=static_disclosure(asked) if asked.identify else None,
        revealed=_revealed(asked, tally),
        seconds=time.perf_counter() - started,
    )


def _tails(tally: Tally) -> list[int]:
    """Return the k worth comparing P(K > k) at: quantiles of what was counted, and just below the largest."""
    if not tally.counted:
        return []
    below = np.searchsorted(np.cumsum(tally.broken), [q * tally.counted for q in _QUANTILES])
    return sorted({*below[:-1].tolist(), max(0, int(below[-1]) - 1)})


def _identify_forecast(asked: Request) -> int | None:
    faults = asked.question.faults
    if not asked.identify or not asked.fresh or not faults.byzantine:
        return None
    size = asked.policy.sizes(n=faults.n, cluster_size=asked.cluster_size)[0]
    rule = rounds_until_identified(n=faults.n, faulty=faults.byzantine, cluster_size=size, noise=asked.noise)
    return rule and rule.rounds


def _revealed(asked: Request, tally: Tally) -> tuple[Revealed, ...]:
    if not asked.identify or asked.churns:
        return ()
    names = dict.fromkeys((asked.question.policy, *_COMPARED))
    return tuple(revealed(asked, tally.kinds, name, most_drawings=asked.rounds) for name in names)


def describe(outcome: Outcome) -> list[str]:
    """Return a few lines for people: the design, each side predicted and observed, K, churn, identification."""
    return [_design(outcome), *_sides(outcome), *_broken(outcome), *_churn(outcome), *_identify(outcome)]


def _design(outcome: Outcome) -> str:
    asked, tally = outcome.request.question, outcome.tally
    faults, scheme = asked.faults, asked.conditions
    kinds = {"Byzantine": faults.byzantine, "crashed": faults.crashed, "curious": faults.curious}
    who = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "none faulty"
    groups = next(iter(tally.compositions))[0]
    return (
        f"{faults.n} processes, {who}, placed {asked.placement}; {clusters_of(groups)} clusters, {asked.policy}; "
        f"{scheme.protocol} ({scheme.mode}{threshold_words(scheme)}); {asked.rule_name}; {tally.rounds} rounds, "
        f"{tally.drawings} drawing{'s' if tally.drawings != 1 else ''}; {outcome.seconds:.1f} s"
    )


def _between(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return shown(high) if low == high else f"{shown(low)} to {shown(high)}"


def _sides(outcome: Outcome) -> list[str]:
    tally, law, lines = outcome.tally, outcome.forecast, list[str]()
    for side in SIDES:
        if tally.counted:
            low, high = interval(tally.failed_drawings[side], tally.counted)
            counted = (
                f"{tally.failed_drawings[side]} of {tally.counted} drawings, 95 % interval {low:.4g} to {high:.4g}"
            )
            if tally.counted < tally.rounds:
                counted += f", and in {tally.failed[side]} of {tally.rounds} rounds"
        else:
            counted = f"{tally.failed[side]} of {tally.rounds} rounds"
        first = tally.first_failure[side]
        epoch = f"; over all: predicted {_between(law.epoch[side])}, " if law.epoch else "; "
        came = f"first failed in round {first}" if first is not None else "never failed"
        lines.append(f"{side:8} fails with probability {_between(law.sides[side])}; failed in {counted}{epoch}{came}")
    return [*lines, f"forecast: {law.words}"]


def _broken(outcome: Outcome) -> list[str]:
    law, counted = outcome.forecast, outcome.tally.counted
    if not counted:
        return []
    mean, error = outcome.mean_broken
    expected = "not known" if law.mean_broken is None else f"{law.mean_broken:.6g}"
    tails = [
        f"P(K > {k}) {outcome.tail(k) / counted:.4g} (predicted {'unknown' if p is None else shown(p)})"
        for k, p in law.tail.items()
    ]
    return [
        f"broken clusters K: mean {mean:.6g} +- {error:.2g}, expected {expected}; largest {_largest(outcome)}",
        *([f"  {', '.join(tails)}"] if tails else []),
    ]


def _largest(outcome: Outcome) -> int:
    return int(np.flatnonzero(outcome.tally.broken).max(initial=0))


def _churn(outcome: Outcome) -> list[str]:
    tally, churn = outcome.tally, outcome.tally.churn
    sizes = f"clusters of {tally.smallest} to {tally.largest}"
    if not outcome.request.churns:
        return [sizes]
    events = churn.seated + churn.unseated
    moves = (
        f"{churn.moved / events:.3g} others moved for each of {events} of these between drawings"
        if events
        else "clusters were drawn anew, so nobody had to move for it"
    )
    return [f"{churn.joined} joined, {churn.left} left, n from {tally.fewest} to {tally.most}; {moves}; {sizes}"]


def _identify(outcome: Outcome) -> list[str]:
    found, tally = outcome.tally.screening, outcome.tally
    if found is None:
        return []
    if found.right_since is not None:
        got = f"all Byzantine processes identified after {found.right_since} rounds"
    else:
        got = (
            f"not identified after {tally.rounds} rounds: {tally.suspects} suspects, {tally.honest_suspects} of them "
            f"honest, {tally.missed} Byzantine missed"
        )
    predicted = outcome.identify_forecast
    lines = [got + (f" (predicted {predicted}, but for 1e-6)" if predicted else "")]
    if outcome.disclose_forecast is not None:
        lines.append(f"static updates disclosed by the sums of r* = {outcome.disclose_forecast} fresh drawings")
    elif outcome.request.question.conditions.revealed is False:
        lines.append("cluster sums stay shared, so that no update is ever disclosed by them")
    return [*lines, *(f"  {_rank_words(each)}" for each in outcome.revealed)]


def _rank_words(each: Revealed) -> str:
    most = f"rank at most {each.limit}" if each.limit is not None else "rank up to full"
    if each.rank is None:
        never = ", never all disclosed" if each.limit is not None and each.limit < each.honest else ""
        return f"{each.policy}: {most} of {each.honest}{never} (the exact rank is computed up to n = {MOST_EXACT})"
    if each.complete_after:
        drawings = f"{each.complete_after} drawings"
        return f"{each.policy}: all {each.honest} honest updates disclosed after {drawings} (exact rank)"
    return (
        f"{each.policy}: rank {each.rank} of {each.honest} after {each.drawings} drawings (exact; {most}); "
        f"{each.disclosed} honest updates disclosed"
    )
