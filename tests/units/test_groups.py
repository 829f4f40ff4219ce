"""What the suite relies on where several workers of pytest-xdist run it."""

import os

import pytest


@pytest.mark.xdist_group("alone")
def test_tests_of_one_group_run_on_one_worker(request: pytest.FixtureRequest) -> None:
    """Workers tell the group in a test's id; a pytest in which they cannot makes shared runs anew in each worker."""
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@alone")
