"""A numpy array of floats loses its fractions when it is encrypted.

Claim: `FixedPointEncoder` 'encodes long or float tensors into scaled integer tensors'; `encode` takes numpy arrays.
"""

import contextlib
import importlib
import sys

with contextlib.suppress(ImportError):  # CrypTen 0.4.1 needs a module that torch 2.9 moved
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules["torch.onnx._internal.registration"] = moved
crypten = importlib.import_module("crypten")
numpy = importlib.import_module("numpy")
word = int(crypten.encoder.FixedPointEncoder().encode(numpy.array([0.75]))[0])
print("holds" if word == 49152 else f"violated: encode(array([0.75])) is {word}; the word of 0.75 is 49152")
