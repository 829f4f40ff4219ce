"""`bench new system`: what a third party starts from passes the suite as it stands, and a bug in it does not."""

import importlib.util
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from bench import scaffold
from protocols.check import CloisterError
from protocols.secure_sum import secure_sums
from protocols.testing.invariants import PROTOCOL
from protocols.testing.suite import conformance_checks, effort_named, examine

EFFORT = effort_named("dev")


@contextmanager
def written(folder: Path) -> Generator[Any, None, None]:
    """The module that `bench new system` writes, imported and registered inside."""
    path = scaffold.new_system("their_sum", folder)
    spec = importlib.util.spec_from_file_location("their_sum", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    secure_sums.entries()  # all others are loaded before what is there is remembered
    with (
        mock.patch.dict(secure_sums._entries),
        mock.patch.dict(sys.modules, {"their_sum": module}),
    ):
        spec.loader.exec_module(module)
        yield module


def test_it_passes_every_invariant_that_it_claims(tmp_path: Path) -> None:
    with written(tmp_path):
        results = [check() for check in conformance_checks("their_sum:TheirSum", EFFORT)]
        claimed = secure_sums.entry("their_sum").facts["claims"]
    held = {result.invariant for result in results if result.status == "holds"}
    assert held == set(claimed)
    assert {result.status for result in results} == {"holds", "not applicable"}


def test_a_sharing_without_randomness_is_found(tmp_path: Path) -> None:
    with written(tmp_path) as module:
        module.split = lambda words, randomness: [words, *(torch.zeros_like(each) for each in randomness)]
        spec = secure_sums.resolve("their_sum")
        secrecy = next(each for each in PROTOCOL if each.name == "I12")
        assert examine(spec, secrecy, EFFORT).status == "violated"


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloisterError, match="name = 'shamir' is taken"):
        scaffold.new_system("shamir", tmp_path)
