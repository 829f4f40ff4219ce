"""The provider HE exists and does nothing.

Claim: `cfg.mpc.provider` may be 'HE', with `HomomorphicProvider` for it (crypten/mpc/provider).
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
crypten.cfg.mpc.provider = "HE"
try:
    product = crypten.cryptensor(torch.tensor([2.0])) * crypten.cryptensor(torch.tensor([3.0]))
    print(f"holds: 2 * 3 = {float(product.get_plain_text())}")
except Exception as error:
    print(f"violated: 2 * 3 raises {type(error).__name__}: {error}")
