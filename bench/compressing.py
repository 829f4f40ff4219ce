"""Compression in a round: what processes send of their updates, what the rule combines, and what the server decodes."""

from dataclasses import replace

import torch
from torch import Tensor

from bench.cell import Cell
from bench.setting import Federation
from protocols.aggregators import Given
from protocols.compression import PLAIN, Code, Compressor, compressors, corrected
from protocols.playable import playable, robust_of
from protocols.privacy import mechanisms
from protocols.randomness import public_stream

__all__ = [
    "code_of",
    "combined_rows",
    "given_in_code",
    "unfit_compression",
    "updates_of",
    "with_memory",
    "with_residue",
]


def code_of(federation: Federation, round_index: int) -> Code:
    """Return the code of a round, which everybody derives from the same public stream before anybody sends.

    All rounds share one where the server keeps what it did not decode.
    """
    names = () if federation.compressor.server_memory else (round_index,)
    rng = public_stream(federation.seed, "compression", *names)
    return federation.compressor.code(federation.network.dimension, rng)


def with_memory(federation: Federation, updates: Tensor) -> Tensor:
    """Return what all would honestly compress, (n, d): the updates, with what their messages have left out so far.

    Every process remembers as an honest one does, also a Byzantine one, whatever it then sends; and what was sent
    counts as arrived, also where the sum of its cluster fails. Who was left with numbers that are not finite forgets
    them: that is never an honest one, whose training would have ended.
    """
    if not federation.compressor.error_feedback:
        return updates
    errors, there = federation.recall.errors(federation.everybody, updates), torch.from_numpy(federation.numbers)
    whole, left = corrected(federation.code, updates, errors[there])
    errors[there] = torch.where(torch.isfinite(left).all(dim=1, keepdim=True), left, 0.0)
    return whole


def combined_rows(federation: Federation, means: Tensor) -> Tensor:
    """Return the rows (m, k) that the rule combines, of the opened means (m, k): (m, d) where these cannot be added."""
    return means if federation.compressor.linear else federation.code.decompress(means)


def updates_of(federation: Federation, rows: Tensor) -> Tensor:
    """Return the updates (m, d) that rows stand for which the rule combines."""
    return federation.code.decompress(rows) if federation.compressor.linear else rows


def with_residue(combined: Tensor, residue: Tensor | None) -> Tensor:
    """Return the combined row with what the server has not decoded so far, if it remembers that."""
    return combined if residue is None else combined + residue


def given_in_code(federation: Federation, given: Given) -> Given:
    """Return what a rule is given, as rows of the code where these are what it combines."""
    if federation.code is PLAIN or not federation.compressor.linear:
        return given
    loss = given.loss
    return replace(
        given,
        previous=_compressed(federation.code, given.previous),
        reference=_compressed(federation.code, given.reference),
        history=None if given.history is None else federation.code.compress(given.history),
        loss=None if loss is None else lambda rows: loss(federation.code.decompress(rows)),
        layers=None,
    )


def _compressed(code: Code, row: Tensor | None) -> Tensor | None:
    return None if row is None else code.compress(row[None])[0]


def unfit_compression(cell: Cell, sizes: tuple[int, ...], dimension: int) -> str | None:
    """Return why the compressor does not suit the rest of the cell, in words, or None."""
    compressor, name = compressors.make(cell.compression), cell.compression.name
    if cell.decentralised:
        return f"{name} compresses updates on their way to a server, and {cell.topology.name} has none"
    return (
        compressor.unfit(dimension)
        or _unfit_masks(cell, compressor, sizes, dimension)
        or _unfit_noise(cell, compressor, dimension)
    )


def _unfit_masks(cell: Cell, compressor: Compressor, sizes: tuple[int, ...], dimension: int) -> str | None:
    """Return why messages with a mask of their own cannot be opened one by one."""
    if compressor.linear:
        return None
    name, protocol = cell.compression.name, playable(cell.protocol)
    if max(sizes) > 1:
        return f"{name} gives each process a mask of its own, so that clusters of {max(sizes)} cannot add their updates"
    if robust_of(cell.protocol) is not None or not protocol.conditions.opens_inputs:
        return f"{name} shows which coordinates a process sends, which {cell.protocol.name} is there to hide"
    most = protocol.ring.bound(2)
    return f"{name} numbers {dimension} coordinates, and the ring ends at {most:.6g}" if dimension > most else None


def _unfit_noise(cell: Cell, compressor: Compressor, dimension: int) -> str | None:
    """Return why noise that is calibrated to clipped updates would not hide what is sent of them."""
    if mechanisms.make(cell.privacy).clip_norm is None:
        return None
    privacy, name = cell.privacy.name, cell.compression.name
    if compressor.error_feedback:
        return f"{privacy} clips updates, and with error_feedback {name} adds to them what was left out before"
    gain = compressor.gain(dimension)
    if gain is None or gain > 1:
        return f"{privacy} adds noise for clipped updates, and {name} may make longer messages of them"
    return None
