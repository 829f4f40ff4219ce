"""Local training of n clients: all at once, against a plain loop over clients with torch's own layers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.models import Network
from bench.models.cnn import Cnn
from bench.models.logistic import Logistic
from bench.models.mlp import Mlp
from bench.peers import Comparison, interleave
from protocols.memory import keep_freed_memory

__all__ = ["GRADIENT_TOLERANCE", "Case", "cases", "compare_training"]

GRADIENT_TOLERANCE = 1e-5
"""Largest difference of two gradients in float32: sums of up to a few thousand products of numbers near 1."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model on inputs of one shape, as ours and as the peer's module with the same parameters."""

    name: str
    network: Network
    module: Callable[[], nn.Module]
    shape: tuple[int, ...]


def cases() -> list[Case]:
    """Return the models at the shapes of the data sets that the presets train on."""
    return [
        _dense_case("logistic", 64, None),
        _dense_case("mlp", 64, 32),
        Case(
            name="cnn (1x28x28)",
            network=Cnn().build((1, 28, 28), 10),
            module=lambda: nn.Sequential(
                nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
            ),
            shape=(1, 28, 28),
        ),
        _dense_case("logistic", 784, None),
        _dense_case("mlp", 784, 32),
    ]


def _dense_case(name: str, features: int, hidden: int | None) -> Case:
    if hidden is None:
        network: Network = Logistic().build((features,), 10)
        return Case(
            name=f"{name} ({features})", network=network, module=lambda: nn.Linear(features, 10), shape=(features,)
        )
    return Case(
        name=f"{name} ({features}-{hidden})",
        network=Mlp(hidden=hidden).build((features,), 10),
        module=lambda: nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 10)),
        shape=(features,),
    )


def compare_training(*, n: int = 100, batch: int = 32, turns: int = 15) -> list[Comparison]:
    """Return the comparison of one gradient of every client, one thread, after checking that both agree.

    Every client has parameters of its own, as in the second and later local steps.
    Raises: AssertionError where a gradient differs by more than GRADIENT_TOLERANCE.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the workers; it is one process, so it serves the peer as well
    try:
        return [_compare(case, n, batch, turns) for case in cases()]
    finally:
        torch.set_num_threads(threads)


def _compare(case: Case, n: int, batch: int, turns: int) -> Comparison:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n, batch, *case.shape, generator=generator)
    labels = torch.randint(0, 10, (n, batch), generator=generator)
    parameters = torch.stack([case.network.initial(generator) for _ in range(n)])
    parameters += 0.01 * torch.randn(parameters.shape, generator=generator)
    clients = [load(case.module(), row) for row in parameters]

    def ours() -> Tensor:
        return case.network.gradients(parameters, inputs, labels)

    def theirs() -> Tensor:
        return torch.stack([client_gradient(*client) for client in zip(clients, inputs, labels, strict=True)])

    difference = float((ours() - theirs()).abs().max())
    assert difference <= GRADIENT_TOLERANCE, f"{case.name}: gradients differ by {difference:.2g}"
    return interleave(case.name, "loop over clients", ours, theirs, turns=turns)


def load(module: nn.Module, row: Tensor) -> nn.Module:
    """Return the module with its parameters set from one flat row, in the order of module.parameters()."""
    nn.utils.vector_to_parameters(row.clone(), module.parameters())
    return module


def client_gradient(client: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the flat gradient (d,) of one client's mean cross-entropy: forward, loss, backward."""
    client.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(client(inputs), labels).backward()
    return torch.cat([parameter.grad.flatten() for parameter in client.parameters() if parameter.grad is not None])
