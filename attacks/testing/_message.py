"""The checks of attacks on the messages of secure sums."""

from dataclasses import replace
from typing import cast

import numpy as np
import torch

from attacks.api import MessageAttack, MessageView, attacks
from protocols.faulty_link import Fault
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check

__all__ = ["MESSAGE_CHECKS", "make_message_view"]


def make_message_view(*, size: int = 5, colluding: tuple[int, ...] = (1, 3), seed: int = 0) -> MessageView:
    """Return what the first colluding member of a cluster sees, in a round after the first."""
    draws = torch.from_numpy(public_stream(seed, "conformance").normal(size=(2, 7)))
    return MessageView(
        place=colluding[0],
        members=tuple(range(10, 10 + size)),
        colluding=frozenset(colluding),
        mean=draws[0],
        previous=draws[1],
        round_index=2,
        rng=public_stream(seed, "attack"),
    )


def _fault(spec: Spec, view: MessageView) -> Fault | None:
    return cast(MessageAttack, attacks.make(spec))(view)


def names_a_fault_of_one_exchange(spec: Spec) -> None:
    """The attack returns a fault that says what it counts as and when it acts, or None, in clusters of any size."""
    for size, colluding in ((2, (0,)), (5, (1, 3)), (4, (0, 1, 2))):
        fault = _fault(spec, make_message_view(size=size, colluding=colluding))
        if fault is not None:
            assert fault.kind in ("crash", "byzantine"), f"{spec} is of kind {fault.kind!r}"
            assert fault.step >= 0, f"{spec} acts in exchange {fault.step}; allowed: 0 or later"


def message_attack_is_repeatable(spec: Spec) -> None:
    """Equal views give equal faults."""
    first = _fault(spec, make_message_view())
    np.random.seed(3)  # noqa: NPY002 - to show that global state does not matter
    assert first == _fault(spec, make_message_view()), f"{spec} differs between equal views"


def a_mean_that_it_does_not_read_is_not_needed(spec: Spec) -> None:
    """Without a mean the attack returns a fault or None, and the same as with one, unless it says `reads_mean`."""
    blind = _fault(spec, replace(make_message_view(), mean=None))
    if not attacks.entry(spec.name).facts["reads_mean"]:
        assert blind == _fault(spec, make_message_view()), f"{spec} reads the mean; allowed: with reads_mean=True"


MESSAGE_CHECKS: list[Check] = [
    names_a_fault_of_one_exchange,
    message_attack_is_repeatable,
    a_mean_that_it_does_not_read_is_not_needed,
]
