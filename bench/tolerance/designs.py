"""Which design to choose: the window of sizes, the most faults, the cheapest size, and what safety costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.tolerance.hidden import largest_faulty_of, price_of, sides_of, window_of
from bench.tolerance.pricing import Price, price
from bench.tolerance.question import Question
from protocols.check import CloisterError
from protocols.playable import Playable, as_registered, cluster_protocols
from protocols.secure_robust import robust_statistics
from protocols.secure_sum import secure_sums
from protocols.tolerance.analysis import failure
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.design import Window, distinct_sizes, largest_faulty, window
from protocols.tolerance.parts import Groups, size_groups

__all__ = ["Designs", "Option", "designs", "options", "pareto", "protocol_of"]

_LARGEST = 200
_SIZES = 28
_LARGEST_STATISTIC = 11  # larger ones share with fewer than c / 2, and have hundreds of parts to price
_DEFAULT_TARGET = 1e-6


@dataclass(frozen=True, kw_only=True)
class Option:
    """One protocol with clusters of one size: how likely it fails, and what one round of sums costs."""

    protocol: str
    size: int
    fail: float
    price: Price

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {"protocol": self.protocol, "size": self.size, "fail": self.fail, **asdict(self.price)}


@dataclass(frozen=True, kw_only=True)
class Designs:
    """What there is to choose from at a target; None where nothing meets it.

    `options` are all that were looked at, `front` those that nothing beats in both safety and bytes, `cheapest` and
    `cheapest_any` the ones with the fewest bytes that meet the target: with the protocol asked about, with any.
    """

    target: float
    window: Window
    largest_faulty: int
    cheapest: Option | None
    cheapest_any: Option | None
    front: tuple[Option, ...]
    options: tuple[Option, ...]
    coordinates: int

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "target": self.target,
            "window": {"private_from": self.window.private, "correct_to": self.window.correct},
            "window_sizes": list(self.window.sizes),
            "largest_faulty_at_target": self.largest_faulty,
            "coordinates": self.coordinates,
            "cheapest": self.cheapest and self.cheapest.as_json(),
            "cheapest_of_all_protocols": self.cheapest_any and self.cheapest_any.as_json(),
            "pareto_front": [option.as_json() for option in self.front],
        }


def protocol_of(conditions: Conditions) -> Playable:
    """Return the registered protocol that has these conditions, as far as its parameters can say them."""
    # What opens whatever can be opened is as one that withholds a sum of no honest input.
    least = max(1, conditions.least_honest)
    return as_registered(conditions, threshold=conditions.threshold, least_honest=least)


def options(question: Question, protocols: Mapping[str, tuple[Playable, Conditions]]) -> list[Option]:
    """Return the designs of these protocols at some sizes up to 200 (robust statistics: 11), under uniform faults."""
    found: list[Option] = []
    faults, statistics = question.faults, robust_statistics.entries()
    for name, (protocol, conditions) in protocols.items():
        most = _LARGEST_STATISTIC if conditions.protocol in statistics else _LARGEST
        for size in _thinned(distinct_sizes(faults.n)):
            if size > most:
                continue
            groups = size_groups(faults.n, size)
            try:
                cost = price(protocol, faults.n, groups, question.coordinates)
                fail = failure(faults, groups, conditions, question.tolerate(groups)).upper
            except CloisterError:
                continue  # a cluster of this size cannot run it
            found.append(Option(protocol=name, size=size, fail=fail, price=cost))
    return found


def _hidden_options(question: Question, label: str) -> list[Option]:
    """Return the designs of sums that stay hidden."""
    found: list[Option] = []
    for size in _thinned(distinct_sizes(question.faults.n)):
        groups = size_groups(question.faults.n, size)
        try:
            cost = price_of(question, groups)
            fail = sides_of(question, groups).fail.upper
        except CloisterError:
            continue  # too few clusters for the delegates, or for the rule
        found.append(Option(protocol=label, size=size, fail=fail, price=cost))
    return found


def _window(question: Question, target: float) -> Window:
    if question.delegates is not None:
        return window_of(question, target)
    return window(question.faults, question.conditions, question.breakdown, target)


def _largest_faulty(question: Question, groups: Groups, target: float) -> int:
    if question.delegates is not None:
        return largest_faulty_of(question, groups, target)
    return largest_faulty(question.faults, groups, question.conditions, question.tolerate(groups), target)


def _thinned(sizes: Sequence[int]) -> list[int]:
    """Some of the sizes up to 200, as many small ones as can be, then further and further apart."""
    kept = [size for size in sizes if size <= _LARGEST]
    if len(kept) <= _SIZES:
        return kept
    step = (len(kept) - 1) ** (1 / (_SIZES - 1))
    places = sorted({round(step**i) for i in range(_SIZES)} | set(range(12)))
    return [kept[place] for place in places if place < len(kept)]


def pareto(found: Sequence[Option]) -> list[Option]:
    """Return the options that no other beats in both failure and bytes, cheapest first.

    Guarantees:
        For every option there is one on the front that fails no more often and costs no more.
    """
    front: list[Option] = []
    for option in sorted(found, key=lambda each: (each.price.wire_bytes_per_process, each.fail)):
        if not front or option.fail < front[-1].fail:
            front.append(option)
    return front


def _as_asked(conditions: Conditions, own: Conditions) -> Conditions | None:
    """Return the conditions of another protocol as `own` are asked about: shared sums, inputs checked by other means.

    A robust statistic checks its inputs itself, and has no other way; None where it is not what was asked for.
    """
    statistics = robust_statistics.entries()
    if conditions.protocol in statistics:
        return conditions if own.revealed else None
    checked = own.checked_inputs and own.protocol not in statistics
    return replace(conditions, checked_inputs=checked, revealed=own.revealed)


def designs(question: Question, groups: Groups) -> Designs:
    """Return what there is to choose from at the target (1e-6 unless asked), for uniform faults."""
    target = question.target or _DEFAULT_TARGET
    own = question.conditions
    label = f"{own.protocol} {own.mode}"
    protocols = {} if question.delegates else {label: (protocol_of(own), own)}
    for name in (*secure_sums.entries(), *robust_statistics.entries()):
        protocol = cluster_protocols.make(cluster_protocols.resolve(name))
        conditions = protocol.conditions if question.delegates else _as_asked(protocol.conditions, own)
        if conditions is not None:
            protocols.setdefault(f"{name} {conditions.mode}", (protocol, conditions))
    found = [*(_hidden_options(question, label) if question.delegates else []), *options(question, protocols)]
    meeting = sorted(
        (option for option in found if option.fail <= target), key=lambda option: option.price.wire_bytes_per_process
    )
    return Designs(
        target=target,
        window=_window(question, target),
        largest_faulty=_largest_faulty(question, groups, target),
        cheapest=next((option for option in meeting if option.protocol == label), None),
        cheapest_any=next(iter(meeting), None),
        front=tuple(pareto([option for option in found if option.fail < 1 - 1e-9])),
        options=tuple(found),
        coordinates=question.coordinates,
    )
