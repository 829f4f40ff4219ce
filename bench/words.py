"""From what processes trained to the words that enter the sums: clipping, encoding, and what has no word."""

from dataclasses import replace

import torch
from torch import Tensor

from bench.attacking import Sent
from bench.decentralised import lost_members_silent
from bench.noise import noise_words
from bench.opening import Opened
from bench.setting import Federation
from protocols.compression import PLAIN
from protocols.privacy import clip_to_norm
from protocols.types import Clustering

__all__ = ["DivergedError", "clipped", "compressed", "encoded", "with_raw_numbers"]


class DivergedError(RuntimeError):
    """Training has left the numbers that a sum can take: an outcome of a cell, not a fault of the bench."""


def clipped(federation: Federation, trained: Tensor, clustering: Clustering) -> Tensor:
    """Return float64 updates (n, d), clipped where the mechanism asks for it; what honest processes would send.

    Under a mechanism nothing that is visible may depend on an update before it is clipped: one that is not
    finite becomes zero, by its own process, and the run goes on.

    Raises: DivergedError without a mechanism, when an honest update is no longer encodable.
    """
    clip_norm = federation.mechanism.clip_norm
    if clip_norm is not None:
        finite = torch.isfinite(trained).all(dim=1, keepdim=True)
        return clip_to_norm(torch.where(finite, trained, 0.0), clip_norm)
    bound = federation.ring.bound(federation.terms(clustering))
    if federation.graph is not None:
        trained = lost_members_silent(federation, trained, clustering, bound)
    _check_honest(federation, trained, bound)
    return trained.to(torch.float64)


def compressed(federation: Federation, sent: Sent, clustering: Clustering) -> Sent:
    """Return what is sent as rows of the round's code, (n, k).

    Raises: DivergedError when an honest one is no longer encodable.
    """
    if federation.code is PLAIN:
        return sent
    rows = federation.code.compress(sent.rows)
    _check_honest(federation, rows, federation.ring.bound(federation.terms(clustering)))
    return replace(sent, rows=rows)


def encoded(federation: Federation, sent: Sent, clustering: Clustering, round_index: int) -> Tensor:
    """Return the int64 words (n, k) that enter the sums: encoded updates plus the noise of those who add theirs.

    A number that no word stands for becomes the nearest one that has a word, and NaN zero; see with_raw_numbers. Where
    inputs are shown to be in range, Byzantine processes have all words of the ring, which the check is there for.
    """
    terms = federation.terms(clustering)
    faulty = torch.from_numpy(federation.faulty)
    possible = sent.rows.clone()
    possible[faulty] = federation.ring.saturate(sent.rows[faulty], terms=terms)
    words = federation.ring.encode(possible, terms=terms)
    if federation.in_range:
        words[faulty] = federation.ring.encode(federation.ring.saturate(sent.rows[faulty], terms=1), terms=1)
    if federation.conditions.opens_inputs:
        words[torch.from_numpy(sent.raw)] = 0
    noise = noise_words(federation, clustering, round_index, terms)
    if noise is not None:
        noise[torch.from_numpy(sent.silent)] = 0
        words += noise
    return words


def with_raw_numbers(federation: Federation, sent: Sent, opened: Opened) -> Tensor:
    """Return the means (m, k) float64 with what senders of raw numbers add to them as they are: NaN, 1e30, 1e-40.

    Only where the protocol sends inputs in the clear; an encrypted sum adds words, and every word is a number in the
    range of the ring, so that nothing else can get into it.
    """
    if not federation.conditions.opens_inputs or not sent.raw.any() or not opened.contributors:
        return opened.means
    raw = torch.stack(
        [sent.rows[[process for process in each if sent.raw[process]]].sum(dim=0) for each in opened.contributors]
    )
    return opened.means + raw / opened.added[:, None]


def _check_honest(federation: Federation, rows: Tensor, bound: float) -> None:
    honest = rows[torch.from_numpy(~federation.faulty)]
    if not bool((honest.abs() <= bound).all()):  # False for NaN as well
        raise DivergedError("an honest update is not finite or beyond the range of the ring")
