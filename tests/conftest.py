"""Hypothesis profiles and the party processes that tests share."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from protocols.party_pool import PartyPool

# Machines are shared and noisy: no test depends on time.
settings.register_profile(
    "dev", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, max_examples=20
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, max_examples=10)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Minutes of random scenarios and of planted bugs, for the nightly profile.
SLOW = ["properties/test_scenarios.py", "properties/test_invariant_twins.py"]
collect_ignore = [] if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else SLOW

torch.set_num_threads(1)


def pytest_xdist_auto_num_workers() -> int:
    """Return more workers than cores: many tests wait, for deadlines or for other processes."""
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


# What takes seconds to make and is made once a worker: the tests that look at it run on one worker.
SHARED = {
    **{"finished": "run", "extended": "extended", "pool": "pool", "trio": "trio"},
    **{"whole": "report", "clean": "report"},
}


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run on one worker the tests that look at one whole run of the command, at one pool, at one report."""
    for item in items:
        for group in sorted({SHARED[name] for name in getattr(item, "fixturenames", ()) if name in SHARED}):
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def pool() -> Iterator[PartyPool]:
    """Eight party processes over TCP, started once."""
    with PartyPool(8, deadline_s=120.0) as started:
        yield started
