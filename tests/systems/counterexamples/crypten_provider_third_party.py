"""With the provider TTP no party holds a mask of another one, and products are right.

Claim: 'TrustedThirdParty': one more process deals the triples, and the parties learn none of each other's operands.
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten = importlib.import_module("crypten")
crypten.cfg.mpc.provider = "TTP"


def party():
    left, right = (crypten.cryptensor(torch.tensor([value]), src=rank) for rank, value in ((1, 12.0), (2, 3.0)))
    seed = crypten.mpc.provider.ttp_provider.TTPClient.get().get_generator().initial_seed()
    return float((left * right).get_plain_text()), seed


seen = importlib.import_module("crypten.mpc.context").run_multiprocess(3)(party)()
right, apart = all(abs(value - 36) < 2**-10 for value, _ in seen), len({seed for _, seed in seen}) == 3
print("holds" if right and apart else f"violated: 12 * 3 opens as {seen[0][0]}, or two parties share a seed: {seen}")
