"""With three parties the byte counter logs less than any way of adding can send.

Claim: summed over all parties and halved, `get_communication_stats` is 'the bytes communicated in the overall system'.
"""

import contextlib
import importlib
import sys

import torch

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten, words = importlib.import_module("crypten"), 1000


def party():
    crypten.cfg.communicator.verbose = True
    comm = crypten.communicator.get()
    comm.reset_communication_stats()
    comm.all_reduce(torch.zeros(words, dtype=torch.long))
    return comm.get_communication_stats()["bytes"]


logged = sum(importlib.import_module("crypten.mpc.context").run_multiprocess(3)(party)()) // 2
least = 2 * (3 - 1) * words * 8  # Patarasuk and Yuan 2009, JPDC: 2 (n - 1) times the data cross
print(f"violated: {logged} bytes logged, at least {least} sent" if logged < least else f"holds: {logged} logged")
