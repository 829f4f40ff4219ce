import pytest

from protocols.testing.suite import conformance_checks


@pytest.mark.parametrize("check", conformance_checks("good_protocol:GoodProtocol"), ids=str)
def test_good_protocol(check):
    check()
