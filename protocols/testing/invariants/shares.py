"""What shares look like on the wire: uniform, and independent from place to place."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from protocols.in_process import InProcessParties
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Views, views_of
from protocols.testing.invariants.affine import affine_views
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import scenario_of, sizes, suite_line
from protocols.testing.invariants.secrecy import secret_sizes, small_variants
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.tape import exact_marginals

__all__ = ["coordinates_are_independent", "looks_uniform"]

_NO_SECRECY = NotApplicable(reason="it promises no secrecy")
_BINS = 32
_ALPHA = 1e-6
_SEEDS = (11, 12)


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
    tested = _sampled(spec, secret[0], effort, _marginal_tests)
    said.append(_power(tested, effort.samples))
    return Evidence(how="exact" if len(said) > 1 else "statistical", cases=cases + tested, text="; ".join(said))


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
    tested = _sampled(spec, secret[0], effort, _difference_tests)
    if not pairs + tested:
        return NotApplicable(reason="no message has two words that are random to its receiver")
    said.append(_power(tested, effort.samples))
    return Evidence(how="exact" if pairs else "statistical", cases=pairs + tested, text="; ".join(said))


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


_Tests = Callable[[Views, int], dict[str, float]]


def _sampled(spec: Spec, parties: int, effort: Effort, tests: _Tests) -> int:
    """Test what many clusters with equal inputs show; a test that fails twice, on other keys, is a violation.

    Each passes with probability 1 - 1e-6 / tests on each of two independent runs: a false alarm has 1e-12.
    """
    modulus = secure_sums.make(spec).ring.modulus
    failed: set[str] | None = None
    count = 0
    for seed in _SEEDS:
        found = tests(_equal_inputs(spec, parties, effort.samples, seed), modulus)
        count = max(count, len(found))
        low = {name for name, p in found.items() if p < _ALPHA / len(found)}
        failed = low if failed is None else failed & low
        if not failed:
            return count
    assert failed is not None
    raise Violation(
        f"{spec}: {sorted(failed)[0]} is not uniform over {effort.samples} clusters, p < {_ALPHA / count:.1g} twice",
        replay=suite_line(spec, "I14"),
    )


def _equal_inputs(spec: Spec, parties: int, clusters: int, seed: int) -> Views:
    """Return the views of a run in which every cluster has the same words."""
    count = clusters + 7  # a number that no other axis has
    words = scenario_of(spec, parties, seed=5).words()[:1, :, :1].expand(count, -1, _several(parties)).contiguous()
    threads = InProcessParties(parties, keyring=replayable_keyring(seed))
    threads.open_sums(spec, words)
    heard = {rank: [(each.sender, each.payload) for each in got] for rank, got in threads.transcripts.items()}
    return views_of(heard, count)


def _marginal_tests(views: Views, modulus: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for column in range(len(views.receivers)):
        words, size = _unsigned(views.words[:, column], modulus)
        if bool((words == words[0]).all()):
            continue  # public, or a sum
        name = f"a word from {views.senders[column]} to {views.receivers[column]} (column {column})"
        found[f"{name}, its highest part"] = _p_value(_highest(words, size))
        found[f"{name}, its lowest part"] = _p_value(words % min(_BINS, size))
    return found


def _difference_tests(views: Views, modulus: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for first, second in _neighbours(views, reach=2):
        (left, size), (right, other) = (_unsigned(views.words[:, column], modulus) for column in (first, second))
        if size != other or bool((left == left[0]).all()) or bool((right == right[0]).all()):
            continue
        above = left >= right
        # Modulo 2^64 unsigned words wrap by themselves; a smaller modulus is added where the difference is negative.
        difference = left - right if size == 2**64 else np.where(above, left - right, left - right + np.uint64(size))
        name = f"the difference of columns {first} and {second} from {views.senders[first]}"
        found[f"{name}, its highest part"] = _p_value(_highest(difference, size))
        found[f"{name}, its lowest part"] = _p_value(difference % np.uint64(min(_BINS, size)))
    return found


def _unsigned(words: NDArray[np.int64], modulus: int) -> tuple[NDArray[np.uint64], int]:
    """Return words as residues and their modulus: the protocol's, else 2^32 or 2^64 where they do not stay inside."""
    for size in (modulus, 2**32):
        if modulus <= size < 2**63 and int(words.min()) >= -(size // 2) and int(words.max()) < size:
            return np.where(words < 0, words + size, words).astype(np.uint64), size
    return words.view(np.uint64), 2**64


def _highest(words: NDArray[np.uint64], modulus: int) -> NDArray[np.uint64]:
    """Return which of 32 equal parts each residue lies in; for a prime the last part is a little smaller."""
    return words // np.uint64(-(-modulus // _BINS))


def _p_value(parts: NDArray[np.uint64]) -> float:
    counts = np.bincount(parts.astype(np.int64), minlength=_BINS)
    return float(cast(Any, stats.chisquare(counts)).pvalue)


def _power(tests: int, samples: int) -> str:
    """Say what relative deviation of 32 bins the tests see with probability 0.999."""
    if not tests:
        return "no random word to sample"
    threshold = stats.chi2.isf(_ALPHA / tests, _BINS - 1)
    noncentral = next(x for x in np.arange(1.0, 1e4) if stats.ncx2.sf(threshold, _BINS - 1, x) > 0.999)
    seen = float(np.sqrt(noncentral / samples))
    return f"{tests} chi-squared tests of {samples} samples each, which see a deviation of {100 * seen:.0f} %"
