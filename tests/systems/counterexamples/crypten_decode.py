"""Decoding is off by one for some negative numbers.

Claim: decrypting gives back what was encrypted (CrypTen's README, its first example).
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
encoder = importlib.import_module("crypten.encoder").FixedPointEncoder()
values = -torch.arange(1, 2**22, dtype=torch.float64) / 2**16  # each is a word, without rounding
off = (encoder.decode(encoder.encode(values)).double() - values).abs() > 0.5
if off.any():
    value = values[off][:1]
    decoded = float(encoder.decode(encoder.encode(value)))
    print(f"violated: {float(value)!r} comes back as {decoded:.6f}; {int(off.sum())} of {len(values)} words do")
else:
    print("holds")
