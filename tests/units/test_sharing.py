"""Secret sharing behind one contract, and the shape of verified dealings: what any few parties hold tells nothing."""

from dataclasses import replace
from itertools import combinations
from unittest import mock

import pytest
import torch
from torch import Tensor

from protocols.field import PrimeField
from protocols.in_process import InProcessParties
from protocols.network import TooFewPartiesError
from protocols.polynomials import evaluate
from protocols.secure_sum import secure_sums
from protocols.secure_sum._sharing import AdditiveSharing, PolynomialSharing, Sharing
from protocols.secure_sum._verified_plan import Plan
from tests.units.test_polynomials import all_vectors

F5 = PrimeField(5)
SHARINGS = [
    *((PolynomialSharing(field=F5, degree=t), c) for c in (2, 3, 4) for t in range(1, c)),
    *((AdditiveSharing(field=F5, parties=c), c) for c in (2, 3, 4)),
]


def shares_of(sharing: Sharing, parties: int, secret: int) -> Tensor:
    """All parties' shares (parties, cases) of a secret, over all randomness."""
    randomness = all_vectors(sharing.field, sharing.random_terms)
    secrets = torch.full(randomness.shape[1:], secret)
    return sharing.at(sharing.basis(secrets, randomness), range(parties))


def assert_few_learn_nothing(sharing: Sharing, parties: int) -> None:
    """I12 and I14 exactly: all tuples of shares are equally often, whatever the secret."""
    base = sharing.field.modulus ** torch.arange(sharing.least - 1)
    for secret in range(sharing.field.modulus):
        shares = shares_of(sharing, parties, secret)
        for coalition in combinations(range(parties), sharing.least - 1):
            codes = (shares[list(coalition)] * base[:, None]).sum(dim=0)
            assert codes.bincount(minlength=5 ** len(coalition)).unique().tolist() == [1], f"{coalition} learn"


@pytest.mark.parametrize(("sharing", "parties"), SHARINGS)
def test_fewer_shares_than_determine_a_secret_are_uniform_whatever_it_is(sharing: Sharing, parties: int) -> None:
    assert_few_learn_nothing(sharing, parties)


@pytest.mark.parametrize(("sharing", "parties"), SHARINGS)
def test_as_many_shares_as_determine_a_secret_open_it_and_fewer_are_refused(sharing: Sharing, parties: int) -> None:
    for secret in range(5):
        shares = shares_of(sharing, parties, secret)
        for chosen in combinations(range(parties), sharing.least):
            assert sharing.open(chosen, shares[list(chosen)]).unique().tolist() == [secret]
            with pytest.raises(TooFewPartiesError):
                sharing.open(chosen[1:], shares[list(chosen[1:])])


def test_a_share_at_the_point_0_is_seen() -> None:
    def from_0(sharing: PolynomialSharing, basis: Tensor, positions: range) -> Tensor:
        return torch.stack([evaluate(sharing.field, basis, [p])[0] if p else basis[0] for p in positions])

    with mock.patch.object(PolynomialSharing, "at", from_0), pytest.raises(AssertionError, match=r"\(0,\) learn"):
        assert_few_learn_nothing(PolynomialSharing(field=F5, degree=1), 3)


def test_a_coefficient_that_is_used_twice_is_seen() -> None:
    class OneCoefficientForAll(PolynomialSharing):
        def basis(self, secrets: Tensor, randomness: Tensor) -> Tensor:
            return super().basis(secrets, randomness[:1].expand(randomness.shape))

    with pytest.raises(AssertionError, match="learn"):
        assert_few_learn_nothing(OneCoefficientForAll(field=F5, degree=2), 3)


@pytest.mark.parametrize("mode", ["passive", "detect", "correct", "vss"])
@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_shamirs_polynomials_have_as_many_random_coefficients_as_curious_members_may_pool(
    mode: str, threshold: int
) -> None:
    spec = secure_sums.resolve({"name": "shamir", "mode": mode, "threshold": str(threshold), "least_honest": 1})
    drawn: list[int] = []

    def basis(sharing: PolynomialSharing, secrets: Tensor, randomness: Tensor) -> Tensor:
        drawn.append(len(randomness))
        return original(sharing, secrets, randomness)

    original = PolynomialSharing.basis
    words = torch.arange(8).view(1, 4, 2)
    with mock.patch.object(PolynomialSharing, "basis", basis):
        assert torch.equal(InProcessParties(4).open_sums(spec, words).sums, words.sum(dim=1))
    assert drawn == [threshold] * 4
    assert secure_sums.make(spec).conditions.threshold_at(4) == threshold


class TestTags:
    PLAN = Plan(
        sharing=PolynomialSharing(field=PrimeField(), degree=1),
        parties=3,
        clusters=1,
        coordinates=4,
        checks=2,
        attempts=2,
        committed_sums=True,
    )

    def masks(self, attempt: int) -> slice:
        first = self.PLAN.coordinates + attempt * self.PLAN.checks
        return slice(first, first + self.PLAN.checks)

    @pytest.mark.parametrize("attempt", [0, 1])
    def test_are_hidden_by_the_masks_of_their_attempt_and_by_no_others(self, attempt: int) -> None:
        """A uniform mask that is added to what a tag would be makes it uniform; added twice it would not."""
        field, rng = self.PLAN.sharing.field, torch.Generator().manual_seed(4)
        coefficients = torch.randint(field.modulus, (self.PLAN.checks, self.PLAN.coordinates), generator=rng)
        rows = torch.randint(field.modulus, (3, 1, self.PLAN.width), generator=rng)
        bare = rows.clone()
        bare[..., self.PLAN.coordinates :] = 0
        plain = self.PLAN.tag(coefficients, bare, attempt)
        assert torch.equal(self.PLAN.tag(coefficients, rows, attempt), field.add(plain, rows[..., self.masks(attempt)]))

    def test_of_two_plans_with_one_attempt_less_are_the_same(self) -> None:
        """The twin: what a later attempt masks with enters no earlier one."""
        rows = torch.arange(self.PLAN.width).view(1, 1, -1)
        fewer = replace(self.PLAN, attempts=1)
        coefficients = torch.ones(2, 4, dtype=torch.int64)
        assert torch.equal(self.PLAN.tag(coefficients, rows, 0), fewer.tag(coefficients, rows[..., : fewer.width], 0))
        assert not torch.equal(self.PLAN.tag(coefficients, rows, 1), self.PLAN.tag(coefficients, rows, 0))
