"""With four parties the protocol 'replicated' opens wrong products of whole numbers, without an error.

Claim: `replicate_shares` refuses fewer than three parties, and no more than three only where a product is rounded.
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten, context = (importlib.import_module(name) for name in ("crypten", "crypten.mpc.context"))
crypten.cfg.mpc.protocol = "replicated"


def party():
    two, three = (crypten.cryptensor(torch.tensor([n]), src=n - 1, precision=0) for n in (2, 3))
    return float((two * three).get_plain_text())


seen = context.run_multiprocess(4)(party)()  # None where it is refused
print("violated: 2 * 3 opens as a random number at all four" if seen and seen != [6] * 4 else f"holds: {seen}")
