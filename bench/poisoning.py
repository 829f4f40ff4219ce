"""The training data of a round: what the attacks on data that are at work in it make of their processes' rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks import DataView, attacks
from attacks.api import Rows
from attacks.plan import Part
from bench.models import Network
from bench.training import ClientData
from protocols.randomness import public_stream

__all__ = ["Poisoning"]


class Poisoning:
    """The clean data of a cell and the attacks on it.

    Guarantees:
        Only rows of processes that use an attack are changed, and only in rounds in which it is at work.
        An attack whose strength is below 1 changes that share of its rows, the same ones as long as it is.
    """

    def __init__(
        self, clean: ClientData, parts: tuple[Part, ...], *, classes: int, network: Network, seed: int
    ) -> None:
        self._clean = clean
        self._parts = [
            (number, part)
            for number, part in enumerate(parts)
            if part.facts["surface"] == "data" and part.senders.any()
        ]
        self._classes = classes
        self._network = network
        self._seed = seed
        self._last: tuple[tuple[float, ...], ClientData] | None = None

    @property
    def changes(self) -> bool:
        """Whether the data are not the same in all rounds."""
        return any(part.facts["each_round"] or not part.constant for _, part in self._parts)

    def clean_rows(self, number: int) -> Rows:
        """Return the rows of the senders of attack `number` of the plan before any attack; none where it has none."""
        owned = next((_owned(self._clean, part) for place, part in self._parts if place == number), [])
        rows = torch.cat(owned) if owned else torch.zeros(0, dtype=torch.int64)
        return Rows(inputs=self._clean.inputs[rows], labels=self._clean.labels[rows])

    def data(self, round_index: int, model: Tensor | None = None) -> ClientData:
        """Return the data of a round that starts from the global model (d,); without one, of unchanging attacks."""
        strengths = tuple(part.strength(round_index) for _, part in self._parts)
        if not any(strengths):
            return self._clean
        if self._last is not None and self._last[0] == strengths:
            return self._last[1]
        made = self._clean
        for (number, part), strength in zip(self._parts, strengths, strict=True):
            if strength:
                made = self._poisoned(made, number, strength, self._now(number, part, round_index, model))
        working = [part for (_, part), strength in zip(self._parts, strengths, strict=True) if strength]
        if not any(part.facts["each_round"] for part in working):
            self._last = strengths, made
        return made

    def _now(self, number: int, part: Part, round_index: int, model: Tensor | None) -> "_Now":
        # The first attack's stream is called as it was when there was only one.
        again = (number,) if number else ()
        if not part.facts["each_round"]:
            return _Now(part=part, rng=public_stream(self._seed, "data attack", *again))
        return _Now(
            part=part,
            rng=public_stream(self._seed, "data attack", *again, f"round {round_index}"),
            round_index=round_index,
            scores=None if model is None else partial(_scores, self._network, model),
        )

    def _poisoned(self, data: ClientData, number: int, strength: float, now: "_Now") -> ClientData:
        owned = _owned(data, now.part)
        rows, owners = torch.cat(owned), torch.repeat_interleave(torch.tensor([len(each) for each in owned]))
        view = DataView(
            inputs=data.inputs[rows],
            clean=Rows(inputs=self._clean.inputs[rows], labels=self._clean.labels[rows]),
            labels=data.labels[rows],
            owners=owners,
            classes=self._classes,
            round_index=now.round_index,
            rng=now.rng,
            scores=now.scores,
        )
        attack: Any = attacks.make(now.part.spec)
        inputs, labels = attack(view)
        if strength < 1.0:
            order = public_stream(self._seed, "poisoned rows", number).permutation(len(rows))
            chosen = torch.from_numpy(order[: round(strength * len(rows))])
            rows, inputs, labels = rows[chosen], inputs[chosen], labels[chosen]
        return replace(data, inputs=_with_rows(data.inputs, rows, inputs), labels=_with_rows(data.labels, rows, labels))


def _owned(data: ClientData, part: Part) -> list[Tensor]:
    """Return the rows of each sender."""
    return [data.rows[process, : data.counts[process]] for process in np.flatnonzero(part.senders).tolist()]


@dataclass(frozen=True, kw_only=True)
class _Now:
    part: Part
    rng: np.random.Generator
    round_index: int = 0
    scores: Callable[[Tensor], Tensor] | None = None


def _scores(network: Network, model: Tensor, inputs: Tensor) -> Tensor:
    return torch.cat([network.logits(model[None], some[None])[0] for some in inputs.split(4096)])


def _with_rows(table: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """Return the table with these rows changed; the table itself where they are the same, which saves a copy."""
    if torch.equal(table[rows], values):
        return table
    changed = table.clone()
    changed[rows] = values
    return changed
