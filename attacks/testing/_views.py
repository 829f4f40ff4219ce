"""Small random views for the checks: what a sender sees of a round, and what an attack on data sees of its rows."""

import torch
from torch import Tensor

from attacks.api import DataView, OpenedRound, OwnView, Rows, World, look
from protocols.compression import compressors
from protocols.randomness import public_stream
from protocols.registry import Spec

__all__ = ["make_data_view", "make_update_view", "make_world"]


def make_world(*, f: int = 3, honest: int = 7, d: int = 11, seed: int = 0, round_index: int = 2) -> World:
    """Return a random round: own (f, d), honest (honest, d), clusters of two in order, and a median of their means.

    The senders are the first f processes. The round's code keeps half of the coordinates.
    """
    n = f + honest
    draws = torch.from_numpy(public_stream(seed, "conformance").normal(size=(2 * n + 2, d)))
    clusters = tuple(tuple(range(start, min(start + 2, n))) for start in range(0, n, 2))
    home = torch.arange(n) // 2
    sizes = torch.tensor([len(members) for members in clusters])

    def aggregate(rows: Tensor) -> Tensor:
        everybody = torch.cat([rows, draws[f:n]])
        sums = torch.zeros(len(clusters), d, dtype=torch.float64).index_add_(0, home, everybody)
        return (sums / sizes[:, None]).quantile(0.5, dim=0)

    return World(
        own=draws[:f],
        numbers=tuple(range(f)),
        n=n,
        round_index=round_index,
        rng=public_stream(seed, "attack"),
        model=draws[-1],
        previous=draws[-2] if round_index else None,
        memory={},
        code=compressors.make(compressors.resolve({"name": "rand_k", "k": 0.5})).code(d, public_stream(seed, "code")),
        clusters=clusters,
        opened=OpenedRound(clusters=clusters, means=draws[n : n + len(clusters)]) if round_index else None,
        honest=draws[f:n],
        honest_numbers=tuple(range(f, n)),
        pre=(),
        rule=Spec(name="median"),
        aggregate=aggregate,
    )


def make_update_view(knowledge: str, *, f: int = 3, honest: int = 7, d: int = 11, seed: int = 0) -> OwnView:
    """Return a random view of the declared knowledge: own (f, d), and honest (honest, d) where it is seen."""
    return look(knowledge, make_world(f=f, honest=honest, d=d, seed=seed))


def make_data_view(
    *, rows: int = 23, shape: tuple[int, ...] = (5,), classes: int = 4, seed: int = 0, owners: int = 3
) -> DataView:
    """Return random training rows: inputs (rows, *shape) float32, labels (rows,) int64, with scores of a model."""
    rng = public_stream(seed, "conformance")
    inputs = torch.from_numpy(rng.normal(size=(rows, *shape))).to(torch.float32)
    weights = torch.from_numpy(rng.normal(size=(inputs[0].numel(), classes))).to(torch.float32)
    labels = torch.from_numpy(rng.integers(0, classes, size=rows))
    return DataView(
        inputs=inputs,
        clean=Rows(inputs=inputs, labels=labels),
        labels=labels,
        owners=torch.arange(rows) % owners,
        classes=classes,
        round_index=2,
        rng=public_stream(seed, "attack"),
        scores=lambda some: some.flatten(1) @ weights,
    )
