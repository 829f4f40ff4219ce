"""Masks have 32 bits of entropy: the upper half of a seed counts for nothing.

Claim: shares are uniformly random words of 64 bits (Knott et al. 2021, NeurIPS, Section 3.1), from seeds of 64 bits.
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
rng = importlib.import_module("crypten.common.rng")
keys = [torch.Generator().manual_seed(seed) for seed in (7, 7 + 2**32, 8)]
seven, shifted, eight = (rng.generate_random_ring_element((4,), generator=key) for key in keys)
if torch.equal(seven, shifted) and not torch.equal(seven, eight):
    print(f"violated: seeds 7 and 7 + 2^32 both give the mask {int(seven[0])}")
else:
    print("holds")
