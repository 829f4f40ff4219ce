"""The report's table of attack and defence: who was caught, how far the result was moved, and what that cost whom."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.report.study import Study, records
from bench.report.tables import NONE, Cell, Table
from bench.report.wording import human_bytes, percent, shown
from bench.trials import finished, identity_columns, numbers, setting_text

__all__ = ["NOTE", "defences"]

NOTE = (
    "Means over the finished seeds and, of what is measured in every round, over the rounds. Worst class: the lowest "
    "accuracy among the test rows of one class. Moved: how far the combined update is from the mean of the honest "
    "updates, in units of their root mean square distance from it. Excluded clusters have no part in the rule's result "
    "(with krum all but one), a round; precision is the share of them that are tainted, to be read beside the share of "
    "all that are, recall the share of tainted clusters that are excluded, and the same of processes, where every "
    "member of an excluded cluster counts as accused, and who does not pass a check of inputs: how many these are, a "
    "round, is said as well. Lost and recovered: how far accuracy fell under an "
    "attack that ended during training, and in how many rounds it was back within a point. Disagreement: the root "
    "mean square distance of the clusters' models from their average, in units of parameters, and the accuracy of the "
    "worst of them, where there is no server. Aborted clusters opened no sum, in all rounds together; named are "
    "processes that a protocol found cheating, of which honest ones must be none; sent in vain is what the sums of "
    "aborted clusters cost. Clusters whose members send something wrong run among threads, in which waiting for them "
    "takes no time, unless the run was made with --faults-over-tcp; misconduct_among of the results says which."
)


def _plain(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.3g}"


def _bytes(value: float) -> str:
    return NONE if math.isnan(value) else human_bytes(value)


# Each column of the results with its heading and how its numbers read.
_SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "worst_class_accuracy": ("worst\nclass", percent),
    "honest_deviation": ("moved", _plain),
    "excluded_clusters": ("excluded\nclusters", _plain),
    "cluster_precision": ("precision,\nclusters", percent),
    "cluster_recall": ("recall,\nclusters", percent),
    "process_precision": ("precision,\nprocesses", percent),
    "process_recall": ("recall,\nprocesses", percent),
    "excluded_processes": ("not passed,\nprocesses", _plain),
    "failed_clusters": ("aborted\nclusters", _plain),
    "identified_culprits": ("culprits\nnamed", _plain),
    "framed_processes": ("honest ones\nnamed", _plain),
    "bytes_aborted": ("sent in\nvain", _bytes),
    "accuracy_lost": ("lost", percent),
    "rounds_to_recover": ("rounds to\nrecover", _plain),
    "consensus_distance": ("disagree-\nment", _plain),
    "worst_honest_accuracy": ("worst honest\nmodel", percent),
    "bytes_exchange": ("exchanged", _bytes),
}


def defences(found: Study) -> Table:
    """Return a line for each configuration, with a column for everything that was measured in any of them.

    Columns that results of an older release lack are left out, as are those that are empty or zero everywhere.
    """
    done = finished(found.results)
    there = [name for name in _SHOWN if name in done and np.nansum(np.abs(numbers(done, name))) > 0]
    if not there:
        return Table(columns=(), lines=())
    identity = identity_columns(done)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in records(done):
        groups.setdefault(tuple(setting_text(line[name]) for name in identity), []).append(line)
    lines = tuple(
        (
            Cell(text=shown("attack", group[0]["attack"])),
            Cell(text=shown("clustering", group[0]["clustering"])),
            *(Cell(text=setting_text(group[0][name])) for name in found.telling),
            *(Cell(text=_SHOWN[name][1](_mean(group, name)), number=True) for name in there),
        )
        for group in groups.values()
    )
    names = ("attack", "clustering", *(name.replace("_", " ") for name in found.telling))
    return Table(columns=(*names, *(_SHOWN[name][0] for name in there)), lines=lines)


def _mean(group: list[dict[str, Any]], name: str) -> float:
    known = [value for line in group if not math.isnan(value := float(line[name]))]
    return sum(known) / len(known) if known else math.nan
