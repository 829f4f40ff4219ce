"""One global model: no sum opens to which members add updates on different ones."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

import torch
from torch import Tensor

from protocols.in_process import InProcessParties
from protocols.model_digest import Models, model_digest
from protocols.network import NetworkError
from protocols.parties import OpenedSums
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing.invariants.affine import affine_views
from protocols.testing.invariants.contract import Effort, Evidence, Violation
from protocols.testing.invariants.runs import promises_secrecy, scenario_of, sizes, suite_line
from protocols.testing.invariants.secrecy import largest_coalitions, secret_sizes
from protocols.testing.keyrings import replayable_keyring

__all__ = ["model_numbered", "rejects_other_models", "splits"]

_NEW, _OLD, _THIRD = range(3)
_ALL_SPLITS = 4


@cache
def model_numbered(number: int) -> bytes:
    """Return the digest of one of several models."""
    return model_digest({"weight": torch.tensor([float(number)])})


def rejects_other_models(spec: Spec, effort: Effort) -> Evidence:
    """I24: members add updates on one model or the sum does not open, and nobody learns anything of whom it leaves out.

    In every split of the members into those with the new model and those with another one - that of the round before,
    which all held then, or one that nobody has seen -, whichever of them the board announces; in clusters of more than
    four, where one member holds another one than the rest, or half of them do. Where all hold the one that is
    announced, the sum opens and has everybody's words.
    """
    parties = (sizes(spec, max(effort.members, 4), least=3) or sizes(spec, 16, least=2))[0]
    cases = 0
    for held, announced in splits(parties):
        _check_outcome(spec, Models(announced=model_numbered(announced), held=tuple(map(model_numbered, held))))
        cases += 1
    which = "every split" if parties <= _ALL_SPLITS else "splits"
    text = f"{which} of {parties} members between the new model and another one"
    secret = secret_sizes(spec, effort)
    seen = _check_views(spec, secret[0]) if secret else 0
    views = f"; what {seen} coalitions see of rounds with one other model, by linear algebra at full size"
    return Evidence(how="exact", cases=cases + seen, text=text + (views if seen else ""))


def splits(parties: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield which model each member holds, and which the board announces: the last is the one of an honest round."""
    for other in (_OLD, _THIRD):
        every = product((_NEW, other), repeat=parties)
        few = {1, parties // 2, parties - 1, parties}
        for held in (held for held in every if parties <= _ALL_SPLITS or _is_short(held, few)):
            yield from ((held, announced) for announced in (_NEW, other) if {*held, announced} != {_NEW})
    yield (_NEW,) * parties, _NEW


def _is_short(held: tuple[int, ...], counts: set[int]) -> bool:
    """Return whether so many have the new model; of halves, whether it is the first or the last half."""
    new = held.count(_NEW)
    return new in counts and (new != len(held) // 2 or held in (tuple(sorted(held)), tuple(sorted(held))[::-1]))


def _check_outcome(spec: Spec, models: Models) -> None:
    """Raise Violation where a batch after one on the old model opens what it must not, or does not what it must."""
    scenario = scenario_of(spec, len(models.held))
    words = scenario.words()
    threads = InProcessParties(len(models.held), deadline_s=60.0, keyring=replayable_keyring(1))  # virtual seconds
    threads.open_sums(spec, words, models=Models.same(model_numbered(_OLD), members=len(models.held)))
    try:
        opened = threads.open_sums(spec, words, models=models)
    except NetworkError as error:
        if len({models.announced, *models.held}) == 1:
            raise _violation(spec, f"it refuses a model that all members hold: {error}", models) from None
        return
    wrong = _mistake(spec, opened, words, models)
    if wrong:
        raise _violation(spec, wrong, models)


def _mistake(spec: Spec, opened: OpenedSums, words: Tensor, models: Models) -> str | None:
    """Return what is wrong with an opened sum, or None."""
    added, ring = list(opened.contributors), secure_sums.make(spec).ring
    if len({models.held[rank] for rank in added}) > 1:
        return f"a sum of {added} opens"
    if len(added) < 2 and promises_secrecy(spec, len(models.held)):
        return f"the words of {added} alone open"
    if not torch.equal(opened.sums, ring.wrap(words[:, added].sum(dim=1))):
        return f"a sum opens that is not the one of {added}"
    if len({models.announced, *models.held}) == 1 and len(added) < len(models.held):
        return f"members are left out of the sum of {added} although all hold the model that is announced"
    return None


def _check_views(spec: Spec, parties: int) -> int:
    """Raise Violation where a coalition learns of words that do not open; return how many coalitions were tried."""
    cases = 0
    for victim, announced in product(range(parties), (_NEW, _OLD)):
        held = [_OLD if rank == victim else _NEW for rank in range(parties)]
        models = Models(announced=model_numbered(announced), held=tuple(map(model_numbered, held)))
        views = affine_views(spec, parties, coordinates=1, models=models)
        if views is None:
            return cases
        # A coalition with the victim in it knows of nothing that is wrong.
        chosen = [each for size in _sizes_of(spec, parties) for each in combinations(range(parties), size)]
        tried = [each for each in chosen if victim not in each]
        leaking = views.leaking(tried)
        if leaking:
            raise _violation(spec, f"with the board, members {set(leaking[0]) or 'none'} learn of words", models)
        cases += len(tried)
    return cases


def _sizes_of(spec: Spec, parties: int) -> tuple[int, ...]:
    """Return the size of the largest coalitions that may learn nothing, and none."""
    return tuple({0, len(largest_coalitions(spec, parties)[0])})


def _violation(spec: Spec, text: str, models: Models) -> Violation:
    names = {model_numbered(number): name for number, name in enumerate(("new", "old", "third"))}
    held, announced = ", ".join(names[model] for model in models.held), names[models.announced]
    said = f"{spec}: {text} although members hold the models {held}, and the board announces the {announced} one"
    return Violation(said, replay=suite_line(spec, "I24"))
