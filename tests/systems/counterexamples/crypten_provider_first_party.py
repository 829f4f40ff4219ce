"""With the provider TFP, party 0 knows both operands of every product.

Claim: 'TrustedFirstParty': the name says that party 0 is trusted. It is the default.
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten = importlib.import_module("crypten")
dealer, dealt, opened = importlib.import_module("crypten.mpc.provider.tfp_provider"), [], []


def party():
    sharing, draw = crypten.mpc.primitives.ArithmeticSharedTensor, dealer.generate_random_ring_element
    reveal = sharing.reveal_batch  # party 0 only looks at what passes through its own memory
    dealer.generate_random_ring_element = lambda *size, **how: dealt.append(draw(*size, **how)) or dealt[-1]
    sharing.reveal_batch = staticmethod(lambda *shared: opened.extend(reveal(*shared)) or opened)
    sharing(torch.tensor([12]), precision=0, src=1).mul(sharing(torch.tensor([-3]), precision=0, src=2))
    return [int(dealt[place] + opened[place]) for place in (0, 1)]


seen = importlib.import_module("crypten.mpc.context").run_multiprocess(3)(party)()[0]
print(f"as documented: party 0 reads {seen} of parties 1 and 2" if seen == [12, -3] else "holds")
