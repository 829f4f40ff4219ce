"""Between two parties some products are off by 2^32: the larger a product is, the more often.

Claim: 'Truncation', Knott et al. 2021, NeurIPS, Appendix A.1.1: shares are divided, which errs where they wrap around.
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
    shared = crypten.cryptensor(torch.full((1000,), 2.0**13))
    return (shared * shared).get_plain_text().tolist()  # a word of 2^58: its shares wrap with probability 2^-6


opened = importlib.import_module("crypten.mpc.context").run_multiprocess(2)(party)()[0]
wrong = [value for value in opened if abs(value - 2.0**26) > 1]  # none in 1,000 with probability 1.4e-7
least = min((abs(value - 2.0**26) for value in wrong), default=0.0)
print(f"as documented: {len(wrong)} of 1,000 are off by {least:.6g} or more" if wrong else "holds")
