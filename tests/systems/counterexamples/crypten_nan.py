"""One NaN turns an encrypted sum into a huge number, without an error.

Claim: a `CrypTensor` 'looks and feels exactly like a PyTorch `Tensor`' (CrypTen's README).
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten = importlib.import_module("crypten")
crypten.init()
terms = [crypten.cryptensor(torch.tensor([value])) for value in (1.0, 2.0, float("nan"))]
total = float(sum(terms[1:], terms[0]).get_plain_text())
print(f"violated: 1 + 2 + nan opens as {total:.6g}" if abs(total) > 3.0 else f"holds: it opens as {total}")
