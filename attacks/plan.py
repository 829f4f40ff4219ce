"""Who attacks how and when: combinations, schedules, and different attacks for different faulty processes.

attack = [
  "ipm",                                                 # one attack
  ["backdoor_trigger", "model_replacement"],             # a combination, one after the other
  {name = "ipm", tau = 2.0, from_round = 5, every = 2},  # a schedule
  {split = ["ipm", "sign_flip"], share = 0.5},           # half of the faulty: one half of them this, one that
]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from attacks.api import SCHEDULE_KEYS, Claiming, Placing, attacks
from protocols import check
from protocols.check import CloisterError, suggestion
from protocols.randomness import public_stream
from protocols.registry import Spec

__all__ = ["ALWAYS", "Part", "Plan", "Schedule", "Split", "Step", "assign", "label_of", "resolve_attack", "specs_of"]


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
StageT = TypeVar("StageT", bound="Step | Split")


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
        resolve_attack() reads the configuration of a plan back to the same plan.
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
    return (attack,) if isinstance(attack, Spec) else tuple(spec for stage in attack.stages for spec in _specs(stage))


def _specs(stage: Step | Split) -> tuple[Spec, ...]:
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


def resolve_attack(config: object) -> Spec | Plan:
    """Return the plan of a name, of {name = ..., ...}, of {split = [...], ...} or of a list of these.

    A single attack without a schedule becomes a Spec. Raises: CloisterError for anything unknown or impossible.
    """
    stages = _combination(config, _stage)
    if len(stages) == 1 and isinstance(stages[0], Step) and stages[0].schedule == ALWAYS:
        return stages[0].spec
    return Plan(stages=stages)


def _combination(config: object, read: Callable[[object], StageT]) -> tuple[StageT, ...]:
    if not isinstance(config, list | tuple):
        return (read(config),)
    parts = cast(Sequence[object], config)
    if not parts:
        raise CloisterError("attack = [] is not allowed; allowed: one attack or more in a combination")
    for part in parts:
        if isinstance(part, list | tuple):
            raise CloisterError(f"attack = {part!r} inside a combination is not allowed; allowed: one flat list")
    stages = tuple(read(part) for part in parts)
    _check_order(stages)
    return stages


def _check_order(stages: Sequence[Step | Split]) -> None:
    """Refuse `none` in a combination, and an attack on data behind one on updates.

    Attacks that only say where processes are or what they claim, or act on messages, may stand anywhere.
    """
    earlier = ""
    for stage in stages if len(stages) > 1 else ():
        specs = _specs(stage)
        if isinstance(stage, Step) and stage.spec.name == "none":
            raise CloisterError("attack 'none' in a combination means nothing; leave it out")
        on_data = [attacks.entry(spec.name).facts["surface"] == "data" for spec in specs]
        if any(on_data) and earlier:
            raise CloisterError(
                f"attack {specs[on_data.index(True)].name!r} after {earlier!r} is not allowed: data are changed before "
                f"an update is made of them; put it first"
            )
        earlier = earlier or next((spec.name for spec in specs if _changes_updates(spec)), "")


def _changes_updates(spec: Spec) -> bool:
    placed = isinstance(attacks.make(spec), Placing | Claiming)
    return attacks.entry(spec.name).facts["surface"] == "update" and not placed


def _stage(config: object) -> Step | Split:
    given = dict(cast(Mapping[str, Any], config)) if isinstance(config, Mapping) else {}
    if "split" not in given:
        return _step(cast(object, config))
    if "name" in given:
        raise CloisterError(f"name = {given['name']!r} beside split is not allowed; its attacks have the names")
    branches, schedule = given.pop("split"), _schedule(given)
    _refuse_unknown("a split attack", given, SCHEDULE_KEYS)
    if not isinstance(branches, list | tuple) or len(cast(Sequence[object], branches)) < 2:
        raise CloisterError(f"split = {branches!r} is not allowed; allowed: a list of two attacks or more")
    split = Split(
        branches=tuple(_combination(branch, _step) for branch in cast(Sequence[object], branches)), schedule=schedule
    )
    if all(spec.name == "none" for spec in _specs(split)):  # one form for nothing
        return _step({"name": "none", **schedule.as_config()})
    return split


def _step(config: object) -> Step:
    if not isinstance(config, Mapping):
        return Step(spec=attacks.resolve(config))
    given = dict(cast(Mapping[str, Any], config))
    if "split" in given:
        raise CloisterError("a split inside a split is not allowed; allowed: one list of all attacks")
    name = given.get("name")
    if isinstance(name, str):
        own = attacks.entry(name).defaults
        _refuse_unknown(f"attack {name!r}", given, (*own, *SCHEDULE_KEYS), own=own)
    schedule = _schedule(given)
    if name == "none" and schedule != ALWAYS:
        keys = ", ".join(schedule.as_config())
        raise CloisterError(f"attack 'none' with a schedule is the same as without one; leave out {keys}")
    return Step(spec=attacks.resolve(given), schedule=schedule)


def _schedule(given: dict[str, Any]) -> Schedule:
    """Take the schedule out of a configuration."""
    taken = {key: given.pop(key) for key in SCHEDULE_KEYS if key in given}
    share = taken.get("share", 1.0)
    if not isinstance(share, int | float):
        raise CloisterError(f"share = {share!r} is not allowed; allowed: a number > 0 and <= 1")
    made = Schedule(**taken)
    return replace(made, share=float(made.share))


def _refuse_unknown(what: str, given: Mapping[str, Any], allowed: Iterable[str], own: Iterable[str] = ()) -> None:
    for key in given:
        if key != "name" and key not in allowed:
            words = ", ".join(own) or "none"
            raise CloisterError(
                f"{what} has no parameter {key!r}{suggestion(key, allowed)}; its parameters: {words}; "
                f"and its schedule: {', '.join(SCHEDULE_KEYS)}"
            )


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
