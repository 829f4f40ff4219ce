"""The second device of the conformance kits: it computes as the processor does, and lets nothing of it in."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protocols.testing.elsewhere import ELSEWHERE, TwoDevicesError, back, elsewhere, moved

ROWS = torch.arange(12.0).reshape(3, 4)
NOTHING = torch.empty(4, device="meta")

WORKS: dict[str, Callable[[Tensor], Tensor]] = {
    "arithmetic": lambda x: (x - x.mean(dim=0)).square().sum(dim=1).sqrt() + 2.0,
    "scalars of both": lambda x: x * torch.tensor(2.0) + x.sum() * x.new_ones(()),
    "products": lambda x: torch.einsum("ij,kj->ik", x, x) @ x,
    "order": lambda x: x.sort(dim=0, descending=True).indices.double(),
    "made there": lambda x: torch.zeros(4, device=x.device) + torch.arange(4, device=x.device),
    "made of numbers": lambda x: torch.tensor([3.0, 1.0], device=x.device),
    "made like it": lambda x: x.new_full((2,), 3.0) + torch.empty_like(x)[0, :2].fill_(1.0),
    "brought there": lambda x: torch.ones(4).to(x.device) + x,
    "indices": lambda x: x[[2, 0]][:, torch.tensor([1, 3])] + x[torch.tensor([2, 0], device=x.device), None, 1],
    "masks": lambda x: x[x[:, 0] > 1],
    "in place": lambda x: x.clone().mul_(2).fill_diagonal_(7),
    "in part of it": lambda x: writes(x.clone()),
    "into room for it": lambda x: torch.mul(x, 3, out=torch.empty_like(x)),
    "branches": lambda x: x if bool((x > 1).any()) and float(x.sum()) == 66.0 and x.tolist()[1][0] == 4.0 else -x,
    "there and back again": lambda x: torch.from_numpy(x.cpu().numpy() + 1).to(x.device),
}


def writes(x: Tensor) -> Tensor:
    x[1] += x[0] + 1
    x[[0, 2], 1] = -1.0
    return x


@pytest.mark.parametrize("work", list(WORKS))
def test_results_are_there_with_the_numbers_that_the_processor_computes(work: str) -> None:
    with elsewhere():
        found = WORKS[work](moved(ROWS))
    assert found.device == ELSEWHERE
    assert torch.equal(back(found), WORKS[work](ROWS))


FAILS: dict[str, Callable[[Tensor], object]] = {
    "a sum": lambda x: x + torch.ones(4),
    "a product": lambda x: torch.ones(2, 3) @ x,
    "a part of several": lambda x: torch.cat([x, torch.ones(1, 4)]),
    "an index of another device": lambda x: ROWS.take(x.long()),
    "an index of another device, in brackets": lambda x: ROWS[x[:, 0].long()],
    "a mask of another device, written to": lambda x: ROWS.clone().index_put_((x > 1,), torch.tensor(0.0)),
    "values of another device": lambda x: x.index_put_((torch.tensor([0]),), ROWS[:1]),
    "what holds nothing": lambda x: x + NOTHING,
    "what never was there": lambda x: back(torch.ones(4)),
}


@pytest.mark.parametrize("work", list(FAILS))
def test_vectors_of_two_devices_do_not_meet(work: str) -> None:
    with elsewhere(), pytest.raises(TwoDevicesError):
        FAILS[work](moved(ROWS))


def test_numpy_sees_nothing_of_it() -> None:
    with elsewhere(), pytest.raises((RuntimeError, TypeError)):
        moved(ROWS).numpy()


def test_outside_of_it_nothing_is_done() -> None:
    there = moved(ROWS)
    with pytest.raises(TwoDevicesError, match="outside"):
        there + 1
