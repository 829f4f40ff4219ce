"""Of four parties, the two ring neighbours of a party together learn what it shares.

Claim: additive sharing, in which all shares but one tell nothing (Knott et al. 2021, NeurIPS, Section 3.1).
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten = importlib.import_module("crypten")


def party():
    seeds = {name: crypten.generators[name][torch.device("cpu")].initial_seed() for name in ("prev", "next")}
    shared = crypten.mpc.primitives.ArithmeticSharedTensor(torch.tensor([12345]), precision=0, src=1)
    return seeds, int(shared.share)  # what a party holds


held = importlib.import_module("crypten.mpc.context").run_multiprocess(4)(party)()
keys = [torch.Generator().manual_seed(held[rank][0][name]) for rank, name in ((0, "next"), (2, "prev"))]
draw = importlib.import_module("crypten.common.rng").generate_random_ring_element
update = (held[1][1] - int(draw((1,), generator=keys[0])) + int(draw((1,), generator=keys[1]))) % 2**64
print(f"violated: with their own seeds 0 and 2 read {update} off party 1's share" if update == 12345 else "holds")
