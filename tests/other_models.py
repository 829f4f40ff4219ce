"""A protocol that ignores which model its members have trained on: planted into any real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import torch

from protocols.model_digest import NO_MODEL
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party, secure_sums


@contextmanager
def ignored_models(spec: Spec) -> Iterator[None]:
    """Members and board play the protocol as if there were no models."""
    protocol = type(secure_sums.make(spec))
    contribute, collect = protocol.contribute, protocol.collect

    def deaf(self: object, party: Party, words: torch.Tensor) -> None:
        contribute(self, replace(party, model=NO_MODEL), words)

    def blind(self: object, board: Board) -> Opened:
        return collect(self, replace(board, model=NO_MODEL))

    with mock.patch.object(protocol, "contribute", deaf), mock.patch.object(protocol, "collect", blind):
        yield
