"""The protocol 'replicated' shows each party what another one shares (CrypTen issue 518).

Claim: 'The protocol used here is that of section 3.2 of ABY3', which masks the shares of a product anew.
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
    comm, received, receive = crypten.communicator.get(), [], crypten.communicator.get().irecv
    comm.irecv = lambda tensor, src: received.append(tensor) or receive(tensor, src=src)
    secret = crypten.mpc.primitives.ArithmeticSharedTensor(torch.tensor([12345]), precision=0, src=1)
    ones = secret.from_shares(torch.ones(1, dtype=torch.long), precision=0)
    _ = (secret * ones) * ones  # received: a share x', one of ones, and x'' + 2 x' of the product
    return (int(secret.share) + int(received[2]) - int(received[0])) % 2**64


seen = context.run_multiprocess(3)(party)()
print(f"violated: each party alone reads {seen} off its messages" if 12345 in (seen[0], seen[2]) else "holds")
