"""Experiments on CrypTen as it comes: real processes over gloo, or its own thread mode, nothing of it replaced.

`fresh` runs this module in an interpreter of its own, which imports CrypTen and nothing of Cloister. Each experiment
gets the imported package and returns its counterexample as one line, or None where CrypTen does not fail. Seeds are
fixed through CrypTen's own debug mode, so that a counterexample reads the same in every run.
"""

import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

# Relative, because `fresh` imports this module under another name.
from .probes import CHILD_DEADLINE_S, in_child, received_bytes, recorded, returns, state_of

__all__ = ["EXPERIMENTS", "main"]

_PARTIES = 3
_UNIT = 2.0**-16  # of CrypTen's default encoding


def main(crypten: Any) -> None:
    """Run all experiments; print, as one line of JSON, the counterexample of each or why the experiment broke."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # what CrypTen's run_multiprocess relies on
    lines: dict[int, str | None] = {}
    broken: dict[int, str] = {}
    for number, experiment in EXPERIMENTS.items():
        try:
            lines[number] = experiment(crypten)
        except Exception:
            broken[number] = traceback.format_exc()
    sys.stdout.write("\n" + json.dumps({"lines": lines, "broken": broken}) + "\n")


def _world(crypten: Any, work: Callable[[int], Any]) -> list[Any]:
    """Return work(rank) of every party, run as CrypTen's users do."""

    def seeded() -> Any:
        rank = crypten.communicator.get().get_rank()
        crypten.cfg.debug.debug_mode = True
        crypten.manual_seed(1 + rank, 100 + rank, 1000)
        return work(rank)

    results = crypten.mpc.context.run_multiprocess(_PARTIES)(seeded)()
    if results is None:
        raise RuntimeError("a party of the experiment failed; its traceback is above")
    return results


def _shared(crypten: Any, values: list[float], owner: int) -> Any:
    return crypten.mpc.primitives.ArithmeticSharedTensor(torch.tensor(values), src=owner)


def _sum_of_ranks(crypten: Any) -> Any:
    """Return the shared sum of 1, 2 and 3, of which each party contributes one."""
    return sum((_shared(crypten, [owner + 1.0], owner) for owner in range(1, _PARTIES)), _shared(crypten, [1.0], 0))


def product_shows_its_operands(crypten: Any) -> str | None:
    """Party 0 deals the triple in the clear and adds its masks back to what every product opens."""
    secrets = {1: 12.5, 2: -3.25}

    def work(_: int) -> list[float]:
        dealt: list[torch.Tensor] = []
        opened: list[torch.Tensor] = []
        dealer, sharing = crypten.mpc.provider.tfp_provider, crypten.mpc.primitives.ArithmeticSharedTensor
        draw, reveal = dealer.generate_random_ring_element, sharing.reveal_batch
        # Party 0 only looks at its own memory; the protocol runs as it is.
        dealer.generate_random_ring_element = recorded(draw, dealt.append)
        sharing.reveal_batch = staticmethod(recorded(reveal, opened.extend))
        left, right = (_shared(crypten, [secrets[owner]], owner) for owner in secrets)
        left.mul(right)
        return [float(mask + word) * _UNIT for mask, word in zip(dealt[:2], opened[:2], strict=True)]

    seen = _world(crypten, work)[0]
    if seen != list(secrets.values()):
        return None
    return f"one product of party 1's {seen[0]} and party 2's {seen[1]}: party 0 reads both off its own memory"


def tampered_share(crypten: Any) -> str | None:
    """Party 1 adds 1000 to its share of a sum, with active_security on."""

    def work(rank: int) -> float:
        crypten.cfg.mpc.active_security = True
        total = _sum_of_ranks(crypten)
        if rank == 1:
            total.share += 1000 * 2**16
        return float(total.get_plain_text())

    opened = _world(crypten, work)
    if opened != [1006.0] * _PARTIES:
        return None
    return "party 1 of 3 adds 1000 to its share: 1 + 2 + 3 opens as 1006.0 at all three, active_security on, no error"


def clip_fails_open(crypten: Any) -> str | None:
    """Clip an update of norm 15 to norm 1 by its inverse norm; square a coordinate of 2^16."""

    def work(_: int) -> tuple[float, float, float]:
        norm = crypten.cryptensor(torch.tensor([15.0, 20.0]), src=1)
        fifteen, twenty = (norm * norm.square().inv_sqrt()).get_plain_text().tolist()
        return fifteen, twenty, float(_shared(crypten, [65536.0], 1).square().get_plain_text())

    fifteen, twenty, square = _world(crypten, work)[0]
    failures = [f"norm {norm} clips to {got:.6g}" for norm, got in ((15, fifteen), (20, twenty)) if abs(got - 1) > 0.1]
    if abs(square) < 1.0:
        failures.append(f"65536 squared opens as {square:.1g} and passes 'norm < 1'")
    return "; ".join(failures) or None


def byte_counter(crypten: Any) -> str | None:
    """Open 100,000 words, and send one word while receiving one; compare CrypTen's counters with the kernel's."""
    words = 100_000

    def work(rank: int) -> tuple[int, int, int]:
        crypten.cfg.communicator.verbose = True
        communicator = crypten.communicator.get()
        share = torch.zeros(words, dtype=torch.int64)
        communicator.all_reduce(share)  # gloo connects at the first use
        communicator.barrier()
        communicator.reset_communication_stats()
        before = received_bytes()
        communicator.all_reduce(share)
        received, logged = received_bytes() - before, communicator.comm_bytes
        communicator.barrier()
        communicator.reset_communication_stats()
        sending = communicator.isend(torch.zeros(1, dtype=torch.int64), (rank + 1) % _PARTIES)
        receiving = communicator.irecv(torch.zeros(1, dtype=torch.int64), src=(rank - 1) % _PARTIES)
        sending.wait()
        receiving.wait()
        return logged, received, communicator.comm_rounds

    parties = _world(crypten, work)
    # Every party logs what it sends and what it receives; half of that crosses the wire.
    logged, wire = sum(each[0] for each in parties) // 2, sum(each[1] for each in parties)
    if wire == 0:
        raise RuntimeError("this kernel does not count the bytes of its sockets")
    if logged > 0.9 * wire:
        return None
    return (
        f"3 parties open {words:,} words: {logged / 1e6:.1f} MB logged, {wire / 1e6:.1f} MB on the wire by the "
        f"kernel's count; one message each, all at the same time: {parties[0][2]} rounds logged"
    )


def thread_mode(crypten: Any) -> str | None:
    """Open 1 + 2 + 3 with init_thread, where all parties draw from the same module's generators."""

    def party(rank: int, said: "queue.SimpleQueue[float | None]") -> None:
        try:
            crypten.init_thread(rank, _PARTIES)
            said.put(float(_sum_of_ranks(crypten).get_plain_text()))
        except Exception:
            said.put(None)

    def run() -> list[float | None]:
        said: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        for rank in range(_PARTIES):
            threading.Thread(target=party, args=(rank, said), daemon=True).start()
        heard: list[float | None] = []
        while len(heard) < _PARTIES and None not in heard:  # who waits for a failed party says nothing
            try:
                heard.append(said.get(timeout=CHILD_DEADLINE_S / 4))
            except queue.Empty:
                heard.append(None)
        return heard

    # Some runs fail or hang while seeds are exchanged; in some the shares happen to cancel.
    runs = (in_child(run) for _ in range(20))
    wrong = next((opened for opened in runs if None not in opened and set(opened) != {6.0}), None)
    return None if wrong is None else f"3 threads add 1, 2 and 3 and open {wrong[0]:.0f}, no error"


def stopped_party(crypten: Any) -> str | None:
    """Stop party 2 (SIGSTOP) before a collective for a second, and look at the deadline of the others."""

    def work(rank: int) -> tuple[bool, float]:
        communicator = crypten.communicator.get()
        pids = communicator.all_gather(torch.tensor([os.getpid()]))
        finished = threading.Event()
        waited: list[bool] = []

        def watch() -> None:
            while state_of(int(pids[2])) != "T":
                finished.wait(0.01)
            waited.append(not finished.wait(1.0))
            os.kill(int(pids[2]), signal.SIGCONT)

        watcher = threading.Thread(target=watch if rank == 0 else lambda: None)
        watcher.start()
        if rank == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        communicator.all_reduce(torch.ones(1, dtype=torch.int64))
        finished.set()
        watcher.join()
        world: Any = torch.distributed.group.WORLD
        options = world._get_backend(torch.device("cpu")).options
        return all(waited), options._timeout.total_seconds()

    waited, deadline_s = _world(crypten, work)[0]
    if not waited or deadline_s < 600:
        return None
    return f"party 2 of 3 is stopped for a second: party 0 waits, and would wait for {deadline_s:,.0f} s"


def failing_party(crypten: Any) -> str | None:
    """Let one of two parties raise; let a party return 1 KiB, then 1 MiB."""

    def work() -> None:
        if crypten.communicator.get().get_rank() == 1:
            raise ValueError("party 1 fails")

    found: list[str] = []
    if crypten.mpc.context.run_multiprocess(2)(work)() is None:
        found.append("party 1 of 2 raises ValueError: run_multiprocess returns None")
    started = time.monotonic()
    if not returns(crypten, 2**10, CHILD_DEADLINE_S):
        raise RuntimeError("not even a small result comes back")
    if not returns(crypten, 2**20, max(2.0, 5 * (time.monotonic() - started))):
        found.append("a result of 1 MiB never comes back where one of 1 KiB does")
    return "; ".join(found) or None


def truncation(crypten: Any) -> str | None:
    """Weight 256 sums of 10^9 by 1/2."""

    def work(_: int) -> list[float]:
        weighted = _shared(crypten, [1e9] * 256, 1) * 0.5
        return (weighted.reveal().to(torch.float64) * _UNIT).tolist()

    wrong = [value for value in _world(crypten, work)[0] if abs(value - 5e8) > 1.0]
    if not wrong:
        return None
    return f"1e9 x 0.5 opens as {wrong[0]:.0f} in {len(wrong)} of 256 coordinates, off by {abs(wrong[0] - 5e8):.0f}"


def extra_draw(crypten: Any) -> str | None:
    """Party 1 draws one share of zero more than the others, before a sum."""

    def work(rank: int) -> float:
        if rank == 1:
            crypten.mpc.primitives.ArithmeticSharedTensor.PRZS((1,))
        return float(_sum_of_ranks(crypten).get_plain_text())

    opened = _world(crypten, work)
    if opened[0] == 6.0 or len(set(opened)) > 1:
        return None
    return f"party 1 of 3 draws one mask more, then 1 + 2 + 3 opens as {opened[0]:.6g} at all three, no error"


EXPERIMENTS: dict[int, Callable[[Any], str | None]] = {
    4: product_shows_its_operands,
    5: tampered_share,
    6: clip_fails_open,
    8: byte_counter,
    9: thread_mode,
    10: stopped_party,
    11: failing_party,
    12: truncation,
    13: extra_draw,
}
"""The experiments by the number of the defect that they show."""
