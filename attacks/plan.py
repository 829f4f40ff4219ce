"""Who attacks how and when: combinations, schedules, and different attacks for different faulty processes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.api import attacks
from protocols import check
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.registry import Spec

__all__ = ["ALWAYS", "Part", "Plan", "Schedule", "Split", "Step", "assign", "label_of", "specs_in", "specs_of"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When an attack is at work, and with how many of the faulty processes it is given.

    Rounds count from 1. It works in round `from_round` and every `every` rounds after it, up to and including
    `until_round` (None: to the end). Over the first `ramp_rounds` rounds its strength grows linearly to all of it:
    of an update attack the way from what its sender would send otherwise, of a data attack the share of the rows.
    `share` of the faulty processes use it, the first ones in an order that is drawn once a cell; at least one does.

    Raises: CloisterError for a number that makes no sense.
    """

    from_round: int = 1
    until_round: int | None = None
    every: int = 1
    ramp_rounds: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        check.integer_at_least(1, from_round=self.from_round, every=self.every)
        check.integer_at_least(0, ramp_rounds=self.ramp_rounds)
        if self.until_round is not None:
            check.integer_at_least(self.from_round, until_round=self.until_round)
        check.positive(share=self.share)
        if self.share > 1:
            raise CloisterError(f"share = {self.share!r} is not allowed; allowed: a number > 0 and <= 1")

    def strength(self, round_index: int) -> float:
        """Return how strong the attack is in a round, counted from 0: from 0 (not at work) to 1."""
        since = round_index + 1 - self.from_round
        over = self.until_round is not None and round_index + 1 > self.until_round
        if since < 0 or over or since % self.every:
            return 0.0
        return min(1.0, (since + 1) / self.ramp_rounds) if self.ramp_rounds else 1.0

    def as_config(self) -> dict[str, Any]:
        """Return what differs from always, with all the faulty."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}


ALWAYS = Schedule()


@dataclass(frozen=True, kw_only=True)
class Step:
    """One attack and its schedule."""

    spec: Spec
    schedule: Schedule = ALWAYS

    def as_config(self) -> dict[str, Any]:
        """Return the form that a configuration file uses."""
        return {**self.spec.as_config(), **self.schedule.as_config()}


@dataclass(frozen=True, kw_only=True)
class Split:
    """Different attacks for different faulty processes: each branch gets an equal part of them, to within one."""

    branches: tuple[tuple[Step, ...], ...]
    schedule: Schedule = ALWAYS

    def as_config(self) -> dict[str, Any]:
        """Return the form that a configuration file uses."""
        branches = [[step.as_config() for step in branch] for branch in self.branches]
        return {
            "split": [branch[0] if len(branch) == 1 else branch for branch in branches],
            **self.schedule.as_config(),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A combination: stages one after the other, attacks on data first; a single plain attack is a Spec instead.

    Guarantees:
        Plans that differ in any parameter of any attack or schedule have different configurations.
        attacks.reading.resolve_attack() reads the configuration of a plan back to the same plan.
    """

    stages: tuple[Step | Split, ...]

    def as_config(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the form that a configuration file uses."""
        configs = [stage.as_config() for stage in self.stages]
        return configs[0] if len(configs) == 1 else configs


@dataclass(frozen=True, kw_only=True)
class Part:
    """One attack of a plan, with the processes that use it, a mask (n,), and every schedule that it is under."""

    spec: Spec
    senders: NDArray[np.bool_]
    schedules: tuple[Schedule, ...] = field(default=(ALWAYS,))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the attack's registration says of it."""
        return attacks.entry(self.spec.name).facts

    @property
    def constant(self) -> bool:
        """Whether it is the same in every round."""
        return all(
            schedule.strength(0) == 1.0 and schedule.as_config().keys() <= {"share"} for schedule in self.schedules
        )

    def strength(self, round_index: int) -> float:
        """Return how strong it is in a round, from 0 (not at work) to 1."""
        return float(np.prod([schedule.strength(round_index) for schedule in self.schedules]))


def specs_of(attack: Spec | Plan) -> tuple[Spec, ...]:
    """Return all attacks of a plan in order."""
    return (attack,) if isinstance(attack, Spec) else tuple(spec for stage in attack.stages for spec in specs_in(stage))


def specs_in(stage: Step | Split) -> tuple[Spec, ...]:
    """Return the attacks of one stage of a plan in order."""
    if isinstance(stage, Step):
        return (stage.spec,)
    return tuple(step.spec for branch in stage.branches for step in branch)


def label_of(attack: Spec | Plan, name: Callable[[Spec], str]) -> str:
    """Return a short name: stages joined by +, branches by |; `name` names one attack."""
    if isinstance(attack, Spec):
        return name(attack)
    return " + ".join(_stage_label(stage, name) for stage in attack.stages)


def _stage_label(stage: Step | Split, name: Callable[[Spec], str]) -> str:
    words = ", ".join(f"{key}={value}" for key, value in stage.schedule.as_config().items())
    if isinstance(stage, Split):
        branches = (" + ".join(_stage_label(step, name) for step in branch) for branch in stage.branches)
        label = f"({' | '.join(branches)})"
    else:
        label = name(stage.spec)
    if not words:
        return label
    return f"{label[:-1]}, {words})" if isinstance(stage, Step) and label.endswith(")") else f"{label}({words})"


def assign(attack: Spec | Plan, faulty: NDArray[np.bool_], seed: int) -> tuple[Part, ...]:
    """Return the parts of a plan in order, for the Byzantine processes of the mask (n,).

    Guarantees:
        The parts of a split have no process in common, and differ by one at most in size.
        A share has the nearest whole number of processes, and one at least.
        Who does what depends on the seed and on who is faulty, and on nothing else.
    """
    if isinstance(attack, Spec):
        return (Part(spec=attack, senders=faulty),)
    ranks = public_stream(seed, "attack order").permutation(len(faulty))
    order = np.array(sorted(np.flatnonzero(faulty), key=lambda process: ranks[process]), dtype=np.int64)
    return tuple(part for stage in attack.stages for part in _parts(stage, order, len(faulty)))


def _first(order: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    return order[: max(1, round(share * len(order)))]


def _parts(stage: Step | Split, order: NDArray[np.int64], n: int) -> Iterable[Part]:
    taken = _first(order, stage.schedule.share)
    if isinstance(stage, Step):
        senders = np.zeros(n, dtype=np.bool_)
        senders[taken] = True
        yield Part(spec=stage.spec, senders=senders, schedules=(stage.schedule,))
        return
    for branch, group in zip(stage.branches, np.array_split(taken, len(stage.branches)), strict=True):
        for part in (part for step in branch for part in _parts(step, group, n)):
            yield Part(spec=part.spec, senders=part.senders, schedules=(stage.schedule, *part.schedules))
