"""An encrypted median on CrypTen as it comes, by a sorting network: what it takes in seconds and bytes.

`fresh` runs this module in an interpreter of its own, which imports CrypTen and nothing of Cloister.
"""

import json
import sys
import time
from typing import Any

import torch

# Relative, because `fresh` imports this module under another name.
from .probes import received_bytes

__all__ = ["PARTIES", "main"]

PARTIES = 5
# Nine comparators in five layers sort five numbers; each layer is one batch for CrypTen.
_LAYERS = (((0, 3), (1, 4)), ((0, 2), (1, 3)), ((0, 1), (2, 4)), ((1, 2), (3, 4)), ((2, 3),))
_UNIT = 2.0**-16


def main(crypten: Any, coordinates: int) -> None:
    """Measure, and print the run as one line of JSON."""
    values = torch.stack([_values(party, coordinates) for party in range(PARTIES)])
    expected = values.sort(dim=0).values[PARTIES // 2]

    def work() -> list[float]:
        torch.set_num_threads(1)
        communicator = crypten.communicator.get()
        for counted in (False, True):
            communicator.barrier()
            received, started = received_bytes(), time.perf_counter()
            shared = [crypten.cryptensor(values[party], src=party) for party in range(PARTIES)]
            opened = _median(crypten, shared).reveal().double() * _UNIT
            seconds, received = time.perf_counter() - started, received_bytes() - received
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
