"""What the suite's own checks cannot see inside flwr: its generator, and what one client gives away."""

import os
from typing import Any

import numpy as np

from protocols.registry import Spec
from protocols.testing.invariants import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import suite_line
from tests.systems.adapters._flwr import (
    ConfigRecord,
    Key,
    bytes_to_private_key,
    bytes_to_public_key,
    client,
    generate_shared_key,
    pseudo_rand_gen,
)

__all__ = ["masks_are_uniform", "needs_ideal_masks", "seeds_are_wide", "unmasks_one_of_both"]

_KEY_BITS = 128
_SMALL = 4
_MASKS = 4096


def masks_are_uniform(spec: Spec, effort: Effort) -> Evidence:
    """I14: over 2^12 mask entries modulo 4 every value turns up; one of four is missing by chance with 4 (3/4)^4096."""
    entries = pseudo_rand_gen(os.urandom(32), _SMALL, [(_MASKS,)])[0]
    missing = sorted(set(range(_SMALL)) - set(np.unique(entries).tolist()))
    if missing:
        raise Violation(
            f"of {_MASKS:,} mask entries for modulus_range = {_SMALL}, none is {missing}",
            replay=suite_line(spec, "I14"),
        )
    return Evidence(how="statistical", cases=_MASKS, text=f"{_MASKS:,} mask entries modulo {_SMALL}")


def needs_ideal_masks(spec: Spec, effort: Effort) -> NotApplicable:
    """I12 and I20 are exact, and so need masks that can be put on a tape."""
    return NotApplicable(reason="shown with ideal masks; with numpy's it rests on seeds of 32 bits, see I15")


def seeds_are_wide(spec: Spec, effort: Effort) -> Evidence:
    """I15: seeds that differ give different masks: each 4 bytes of a seed moved by one place are another seed."""
    seed = os.urandom(32)
    moved = seed[4:] + seed[:4]
    one, other = (pseudo_rand_gen(each, 2**32, [(8,)])[0] for each in (seed, moved))
    pair = _setup(1), _setup(2)
    text = generate_shared_key(bytes_to_private_key(pair[0].sk1), bytes_to_public_key(pair[1].pk1))
    if bool((one == other).all()):
        fixed = 4 if max(text) < 128 else 0
        raise Violation(
            f"two seeds of 32 bytes give the same mask: 32 bits of them count, of a pairwise seed, which is text, "
            f"{32 - fixed}; allowed: {_KEY_BITS}",
            replay=suite_line(spec, "I15"),
        )
    return Evidence(how="property", cases=8, text="a seed and the same 4-byte words in another order")


def unmasks_one_of_both(spec: Spec, effort: Effort) -> Evidence:
    """I19: a client that is asked for both shares of another one gives none, or one of them."""
    state = _setup(1)
    state.threshold = 1
    state.rd_seed_share_dict[2], state.sk1_share_dict[2] = b"share of the self-mask", b"share of the mask key"
    asked = ConfigRecord({Key.ACTIVE_NODE_ID_LIST: [2], Key.DEAD_NODE_ID_LIST: [2]})
    try:
        answer = client._unmask(state, asked)
    except ValueError:
        return Evidence(how="property", cases=1, text="a client that is listed as active and as dead")
    if len(set(answer[Key.SHARE_LIST])) == 2:
        raise Violation(
            "a client that is asked for node 2 as active and as dead answers with both shares",
            replay=suite_line(spec, "I19"),
        )
    return Evidence(how="property", cases=1, text="a client that is listed as active and as dead")


def _setup(node: int) -> Any:
    """Return the state of a client after flwr's first stage."""
    state = client.SecAggPlusState(nid=node)
    numbers = {Key.SAMPLE_NUMBER: 2, Key.SHARE_NUMBER: 2, Key.THRESHOLD: 2, Key.TARGET_RANGE: 2**22}
    ranges = {Key.CLIPPING_RANGE: 8.0, Key.MOD_RANGE: 2**32, Key.MAX_WEIGHT: 1.0}
    client._setup(state, ConfigRecord({**numbers, **ranges}))
    return state
