"""Publishing a sum beside who is in it, where that differs from cluster to cluster."""

from dataclasses import replace

import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.types import Cost

__all__ = ["collect_kept", "kept_cost", "publish_kept"]


def publish_kept(party: Party, sums: Tensor, kept: Tensor) -> None:
    """Publish sums (clusters, coordinates) and, behind them, 0 or 1 for each member (clusters, members)."""
    publish(party, torch.cat([sums, kept], dim=1), vouching=True)


def collect_kept(board: Board) -> Opened:
    """Return what the members published and vouch for."""
    widened = replace(board, coordinates=board.coordinates + board.parties)
    words = read_published(widened, vouching=True)
    sums, kept = words[:, : board.coordinates].contiguous(), words[:, board.coordinates :] == 1
    return Opened(sums=sums, contributors=tuple(range(board.parties)), kept=kept)


def kept_cost(access: Access, *, clusters: int, coordinates: int) -> Cost:
    """Return what publishing both costs."""
    columns = coordinates + access.parties
    return publishing_cost(parties=access.parties, clusters=clusters, coordinates=columns, vouching=True)
