"""Reads what a configuration says of attacks: one, a combination, a schedule, or a split among the faulty processes.

attack = [
  "ipm",                                                 # one attack
  ["backdoor_trigger", "model_replacement"],             # a combination, one after the other
  {name = "ipm", tau = 2.0, from_round = 5, every = 2},  # a schedule
  {split = ["ipm", "sign_flip"], share = 0.5},           # half of the faulty: one half of them this, one that
]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from attacks.api import SCHEDULE_KEYS, Claiming, Placing, attacks
from attacks.plan import ALWAYS, Plan, Schedule, Split, Step, specs_in
from protocols.check import CloisterError, suggestion
from protocols.registry import Spec

__all__ = ["resolve_attack"]

StageT = TypeVar("StageT", bound=Step | Split)


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
        specs = specs_in(stage)
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
    if all(spec.name == "none" for spec in specs_in(split)):  # one form for nothing
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
