"""Who plays where somebody misbehaves changes nothing in a cell's row but the time that it took."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from bench import hiring
from bench.cell import Cell
from bench.data import Dataset
from bench.federation import run_cell
from bench.hiring import VIRTUAL_DEADLINE_S, Hire, Processes, Threads, stretched
from bench.worker import Worker
from protocols.faults import Combined, Crash, Delay
from protocols.in_process import InProcessParties
from protocols.party_pool import PartyPool
from tests.rounds import cell_with

DEADLINE_S = 120.0
IN_TIME = {"name": "delay", "seconds": 0.01}
# What comes in time or twice changes no sum, and a swap of two clusters cancels in the mean of both.
QUIET = (IN_TIME, "duplicate", "wrong_cluster")


@pytest.fixture(scope="module")
def trio() -> Iterator[PartyPool]:
    """Three party processes."""
    with PartyPool(3, deadline_s=DEADLINE_S) as pool:
        yield pool


def one_cell(attack: object, protocol: str, **axes: Any) -> Cell:
    return cell_with(**{"n": 6, "f": 1, "cluster_size": 3, "attack": attack, "protocol": protocol, **axes})


def row(cell: Cell, digits: Dataset, parties: InProcessParties | PartyPool, hire: Hire) -> dict[str, Any]:
    """The row but for what is measured in seconds."""
    metrics = run_cell(cell, digits, parties, hire).metrics
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


def acts_on(found: dict[str, Any], honest: dict[str, Any]) -> bool:
    return any(found[column] != honest[column] for column in ("loss", "failed_clusters", "identified_culprits"))


@pytest.mark.parametrize(
    ("attack", "protocol"),
    [
        ("replay", "plaintext"),  # by what its own process remembers of the round before
        ("duplicate", "plaintext"),
        (["tamper_share", {"name": "crash", "step": 0}], "plaintext"),
        ("tamper_share", "authenticated"),
        ("tamper_share", "additive"),
        ("equivocate", "additive"),
        (IN_TIME, "authenticated"),
        ("wrong_cluster", "plaintext"),
    ],
    ids=str,
)
def test_a_row_is_the_same_with_party_processes(
    digits: Dataset, parties: InProcessParties, trio: PartyPool, attack: Any, protocol: str
) -> None:
    axes: dict[str, Any] = {"f": 2, "placement": "spread"} if attack == "wrong_cluster" else {}
    cell = one_cell(attack, protocol, **axes)
    virtual = row(cell, digits, parties, Threads())
    real = row(cell, digits, trio, Processes(pool=trio))
    assert (virtual.pop("misconduct_among"), real.pop("misconduct_among")) == ("threads", "processes")
    assert real == virtual
    honest = row(one_cell("none", protocol, **axes), digits, parties, Threads())
    assert acts_on(virtual, honest) == (attack not in QUIET)


def test_a_row_of_processes_that_forget_is_another_one(
    digits: Dataset, parties: InProcessParties, trio: PartyPool
) -> None:
    """The negative twin: members without a memory have nothing to replay."""
    cell = one_cell("replay", "plaintext")
    with mock.patch.object(hiring.PartyPool, "company", lambda pool: pool):
        forgetful = row(cell, digits, trio, Processes(pool=trio))
    assert forgetful["loss"] != row(cell, digits, parties, Threads())["loss"]


def test_a_worker_has_threads_unless_it_is_told_otherwise() -> None:
    rows = {}
    for over_tcp in (False, True):
        worker = Worker(parties=3, deadline_s=DEADLINE_S, data_dir=None, faults_over_tcp=over_tcp)
        rows[over_tcp] = worker.run(one_cell("tamper_share", "plaintext", rounds=1), "key")["metrics"]
        worker._pool.stop()
    assert [rows[over_tcp]["misconduct_among"] for over_tcp in (False, True)] == ["threads", "processes"]
    assert rows[False]["loss"] == rows[True]["loss"]


def test_nobody_who_misbehaves_is_among_nobody(digits: Dataset, parties: InProcessParties) -> None:
    for attack, f in (("ipm", 1), ("tamper_share", 0)):
        assert run_cell(one_cell(attack, "plaintext", f=f), digits, parties).metrics["misconduct_among"] == ""


def test_a_delay_is_as_many_deadlines_long_among_processes_as_among_threads(trio: PartyPool) -> None:
    delay = Delay(step=0, seconds=90.0)
    assert stretched(delay, DEADLINE_S / VIRTUAL_DEADLINE_S) == Delay(step=0, seconds=180.0)
    several = Combined(faults=(delay, Crash(step=1)))
    assert stretched(several, 0.5) == Combined(faults=(Delay(step=0, seconds=45.0), Crash(step=1)))
    with mock.patch.object(PartyPool, "open_sums") as opening:
        Processes(pool=trio)(3).open_sums(mock.sentinel.protocol, mock.sentinel.words, faults={1: delay})
    assert opening.call_args.kwargs["faults"] == {1: Delay(step=0, seconds=180.0)}
