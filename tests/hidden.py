"""The protocol `hidden` for tests: its specs, words for it, and runs among threads whose keys follow from a seed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from protocols.faults import Fault
from protocols.hidden_sums import hidden_sums
from protocols.hidden_sums.hidden import Hidden
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.playable import cluster_protocols
from protocols.registry import Spec
from protocols.testing.keyrings import replayable_keyring


def hidden(**parameters: Any) -> Spec:
    return cluster_protocols.resolve({"name": "hidden", **parameters})


def made(spec: Spec) -> Hidden:
    protocol = hidden_sums.make(spec)
    assert isinstance(protocol, Hidden)
    return protocol


def words_of(parties: int, clusters: int = 1, coordinates: int = 3, *, seed: int = 0, bits: int = 24) -> Tensor:
    rng = torch.Generator().manual_seed(1000 * parties + seed)
    return torch.randint(-(2**bits), 2**bits, (clusters, parties, coordinates), generator=rng)


def run(spec: Spec, words: Tensor, faults: Mapping[int, Fault] | None = None) -> OpenedSums:
    threads = InProcessParties(words.shape[1], faults=faults, keyring=replayable_keyring(0))
    return threads.open_sums(spec, words)
