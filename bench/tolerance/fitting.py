"""Which of the sizes asked about the protocol refuses, and in which words."""

from bench.tolerance.question import Question
from protocols.check import CloisterError
from protocols.playable import as_registered

__all__ = ["refusals"]


def refusals(question: Question) -> dict[int, str]:
    """Return, for each size asked about whose clusters the protocol refuses, its reason.

    Raises: CloisterError with the first reason where no size is left.

    Guarantees:
        The sizes are those whose clusters `bench run` would refuse.
    """
    if question.delegates is not None or question.policy == "singletons":
        return {}  # conditions of a cluster alone, of any size; no clusters, of which the answer says what that means
    conditions = question.conditions
    protocol = as_registered(conditions, threshold=conditions.threshold, least_honest=conditions.least_honest or 1)
    found: dict[int, str] = {}
    for size in question.sizes:
        try:
            for members, _ in question.groups(size):
                protocol.check_size(parties=members)
        except CloisterError as error:
            if len(question.sizes) == 1:
                raise
            found[size] = str(error)
    if found and len(found) == len(question.sizes):
        raise CloisterError(found[question.sizes[0]])
    return found
