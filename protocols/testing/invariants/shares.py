"""What shares look like on the wire: uniform, and independent from place to place.

Exactly, by linear algebra and by enumeration, where the protocol allows that; and in samples of a real run, which see a
generator that is biased as well (`samples`).
"""

import numpy as np
from numpy.typing import NDArray

from protocols.registry import Spec
from protocols.testing._taped import Views
from protocols.testing.invariants.affine import affine_views
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import sizes, suite_line
from protocols.testing.invariants.samples import sampled
from protocols.testing.invariants.secrecy import secret_sizes, small_variants
from protocols.testing.tape import exact_marginals

__all__ = ["coordinates_are_independent", "looks_uniform"]

_NO_SECRECY = NotApplicable(reason="it promises no secrecy")


def looks_uniform(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I14: a word that its receiver does not know already is uniform, in exact law and in samples of a real run."""
    secret = secret_sizes(spec, effort)
    if not secret:
        return _NO_SECRECY
    cases = 0
    said: list[str] = []
    views = affine_views(spec, secret[0], coordinates=2)
    if views is not None:
        for column, (receiver, sender) in enumerate(zip(views.views.receivers, views.views.senders, strict=True)):
            cases += 1
            if _partial(views.unknown([receiver])[column], views.modulus):
                raise Violation(
                    f"{spec}: a word from {sender} to {receiver} takes only some values", replay=suite_line(spec, "I14")
                )
        said.append(f"{cases} words by linear algebra")
    for small in small_variants(spec)[:1]:
        parties = sizes(small, 12, least=3)[0]
        wrong, tried = exact_marginals(small, parties, rows=min(effort.rows, 2**12))
        if wrong:
            raise Violation(f"{small}, {parties} members: {wrong[0]}", replay=suite_line(spec, "I14"))
        cases += tried
        said.append(f"{tried} words by enumeration")
    tested = sampled(spec, secret[0], effort, "I14")
    said.append(tested.text)
    return Evidence(how="exact" if len(said) > 1 else "statistical", cases=cases + tested.count, text="; ".join(said))


def coordinates_are_independent(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I16: the words of a message at two places differ by a uniform word: no two share their randomness."""
    secret = secret_sizes(spec, effort)
    if not secret:
        return _NO_SECRECY
    pairs = 0
    said: list[str] = []
    views = affine_views(spec, secret[0], coordinates=_several(secret[0]))
    if views is not None:
        for first, second in _neighbours(views.views):
            rows = views.unknown([views.views.receivers[first]])
            if rows[first].any() and rows[second].any():
                pairs += 1
                difference = (rows[first] - rows[second]) % views.modulus
                if _partial(difference, views.modulus) or not difference.any():
                    raise Violation(
                        f"{spec}: two words from {views.views.senders[first]} to {views.views.receivers[first]} hide "
                        f"two coordinates with the same randomness",
                        replay=suite_line(spec, "I16"),
                    )
        said.append(f"{pairs} pairs of words by linear algebra")
    tested = sampled(spec, secret[0], effort, "I16")
    if not pairs + tested.count:
        return NotApplicable(reason="no message has two words that are random to its receiver")
    said.append(tested.text)
    return Evidence(how="exact" if pairs else "statistical", cases=pairs + tested.count, text="; ".join(said))


def _several(parties: int) -> int:
    """Return a number of coordinates of which everybody who collects them gets two."""
    return min(2 * parties, 8)


def _partial(row: NDArray[np.object_], modulus: int) -> bool:
    """Return whether these coefficients of uniform digits give neither a uniform word nor a fixed one."""
    return bool(row.any()) and not any(int(each) % 2 or modulus % 2 for each in row if each)


def _neighbours(views: Views, reach: int = 3) -> list[tuple[int, int]]:
    """Return pairs of columns of one message, up to `reach` columns apart."""
    count = len(views.messages)
    return [
        (first, second)
        for first in range(count)
        for second in range(first + 1, min(first + 1 + reach, count))
        if views.messages[first] == views.messages[second]
    ]
