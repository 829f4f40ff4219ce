"""The peer: an encrypted median on CrypTen as it comes, by a sorting network, in processes that it starts itself.

It runs in an interpreter of its own, because our engine replaces parts of CrypTen for the process that imports it;
`main` is what that interpreter calls, with the untouched package.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["StockRun", "main", "run_stock_median"]

PARTIES = 5
# Nine comparators in five layers sort five numbers; each layer is one batch for CrypTen.
_LAYERS = (((0, 3), (1, 4)), ((0, 2), (1, 3)), ((0, 1), (2, 4)), ((1, 2), (3, 4)), ((2, 3),))
_UNIT = 2.0**-16
_DEADLINE_S = 600.0
# The one thing without which CrypTen 0.4.1 cannot be imported: torch 2.9 moved a module.
_SCRIPT = """
import importlib, importlib.util, sys
old = "torch.onnx._internal.registration"
try:
    importlib.import_module(old)
except ModuleNotFoundError:
    sys.modules[old] = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
import crypten
path, coordinates = sys.argv[1:]
spec = importlib.util.spec_from_file_location("stock_median", path)
module = sys.modules["stock_median"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.main(crypten, int(coordinates))
"""


@dataclass(frozen=True, kw_only=True)
class StockRun:
    """Seconds of one encrypted median of five inputs on stock CrypTen, and the bytes that the kernel counted."""

    seconds: float
    wire_bytes: int


def run_stock_median(coordinates: int) -> StockRun:
    """Return one measured run after one that is not counted. Raises: RuntimeError where CrypTen's interpreter fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SCRIPT, __file__, str(coordinates)],
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = process.wait(_DEADLINE_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # with all parties that it has started
            process.wait()
            raise
        out.seek(0)
        errors.seek(0)
        if status != 0:
            raise RuntimeError(f"CrypTen's own interpreter ended with status {status}:\n{errors.read().decode()}")
        return StockRun(**json.loads(out.read().splitlines()[-1]))


def main(crypten: Any, coordinates: int) -> None:
    """Measure, and print the run as one line of JSON."""
    values = torch.stack([_values(party, coordinates) for party in range(PARTIES)])
    expected = values.sort(dim=0).values[PARTIES // 2]

    def work() -> list[float]:
        torch.set_num_threads(1)
        communicator = crypten.communicator.get()
        for counted in (False, True):
            communicator.barrier()
            received, started = _received_bytes(), time.perf_counter()
            shared = [crypten.cryptensor(values[party], src=party) for party in range(PARTIES)]
            opened = _median(crypten, shared).reveal().double() * _UNIT
            seconds, received = time.perf_counter() - started, _received_bytes() - received
            # One unit: CrypTen cuts towards zero when it encodes.
            assert float((opened - expected).abs().max()) <= _UNIT, "stock CrypTen opened another median"
            if counted:
                return [seconds, received]
        raise AssertionError

    parties = crypten.mpc.context.run_multiprocess(PARTIES)(work)()
    if parties is None:
        raise RuntimeError("a party failed; its traceback is above")
    seconds, received = max(each[0] for each in parties), sum(each[1] for each in parties)
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "wire_bytes": received}) + "\n")


def _values(party: int, coordinates: int) -> torch.Tensor:
    return torch.randn(coordinates, generator=torch.Generator().manual_seed(party), dtype=torch.float64)


def _median(crypten: Any, shared: list[Any]) -> Any:
    for layer in _LAYERS:
        low = crypten.stack([shared[i] for i, _ in layer])
        high = crypten.stack([shared[j] for _, j in layer])
        swapped = (low > high) * (low - high)
        low, high = low - swapped, high + swapped
        for place, (i, j) in enumerate(layer):
            shared[i], shared[j] = low[place], high[place]
    return shared[PARTIES // 2]


def _received_bytes() -> int:
    """Return how many payload bytes the kernel has received on the TCP sockets of this process."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            continue  # closed by now, or no TCP socket
        total += struct.unpack("=Q", info[128:136])[0]  # tcpi_bytes_received of linux/tcp.h
    return total
