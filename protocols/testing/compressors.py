"""The conformance kit of compressors.

What holds on average over the codes is summed up over all of them, on few coordinates: exactly, without sampling.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from protocols.compression import Code, Compressor, compressors, corrected
from protocols.norms import row_norms
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal

__all__ = ["conformance_checks", "example_specs"]

_DIMENSIONS = (1, 2, 3, 4, 11, 40)
_FEW = (1, 2, 3, 4)
# With more codes than this a number of coordinates is left to the smaller ones.
_MOST_CODES = 300
_DRAWS_EACH, _LEAST_DRAWS, _MOST_DRAWN = 20, 600, 64
# The false-positive rate of the one statistical check, in each of at most four sizes.
_ALPHA = 2.5e-7
# Sums of at most 300 products of small numbers, each off by a unit in the last place.
_ROUNDING = 1e-12
_WORD = 2**63


def example_specs() -> list[Spec]:
    """Return every registered compressor with its defaults and with each of its declared examples, without repeats."""
    return examples_of(compressors)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the compressor."""
    compressor = compressors.make(spec)
    checks = [
        is_a_documented_frozen_dataclass,
        refuses_shares_that_make_no_sense,
        sends_as_many_words_as_it_says,
        works_where_its_rows_are,
        leaves_its_inputs_alone,
        draws_equal_codes_from_equal_streams,
        draws_every_code_equally_often,
        compresses_each_row_alone,
        decompresses_each_row_alone,
        says_whether_it_is_linear,
        contracts_as_it_says,
        lengthens_no_row_beyond_its_gain,
    ]
    checks += [is_right_on_average] if compressor.unbiased else []
    return checks + ([gives_back_all_that_it_left_out] if compressor.error_feedback else [])


def _compressor(spec: Spec) -> Compressor:
    return compressors.make(spec)


def _rows(n: int, d: int, *, seed: int = 0) -> Tensor:
    """Return random whole numbers (n, d) float64, with which sums and differences are exact."""
    return torch.from_numpy(public_stream(seed, "compressed", n, d).integers(-50, 51, size=(n, d)).astype(np.float64))


def _code(spec: Spec, d: int, seed: int = 0) -> Code:
    return _compressor(spec).code(d, public_stream(seed, "code", d))


def _all_codes(spec: Spec) -> Iterator[tuple[int, list[Code]]]:
    """Yield numbers of coordinates, with all codes, where these are few; at least for one number they are."""
    found = False
    for d in _FEW:
        codes = list(islice(_compressor(spec).codes(d), _MOST_CODES + 1))
        assert codes, f"{spec} has no code for {d} coordinates"
        if len(codes) <= _MOST_CODES:
            found = True
            yield d, codes
    assert found, f"{spec} has more than {_MOST_CODES} codes for {_FEW} coordinates; add an example with fewer"


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(compressors, spec)


def refuses_shares_that_make_no_sense(spec: Spec) -> None:
    """A parameter `k`, if there is one, is a share of the coordinates: above 0 and at most 1."""
    if "k" not in dict(spec.parameters):
        return
    for k in (0.0, -0.5, 1.5, float("nan"), float("inf")):
        said = refusal(lambda k=k: compressors.resolve({**spec.as_config(), "k": k}))
        assert said is not None, f"{spec} accepts k = {k}"
        assert f"k = {k}" in said, f"{spec} refuses k = {k} without saying so: {said}"


def sends_as_many_words_as_it_says(spec: Spec) -> None:
    """Rows have coordinates(d) numbers, from one to d unless it says `unfit`, and come back as d of their type."""
    for d in _DIMENSIONS:
        k, code = _compressor(spec).coordinates(d), _code(spec, d)
        assert k >= 1, f"{spec} sends {k} words for {d} coordinates"
        assert k <= d or _compressor(spec).unfit(d), f"{spec} sends {k} words for {d} coordinates, and does not say so"
        for dtype in (torch.float32, torch.float64):
            packed = code.compress(_rows(3, d).to(dtype))
            assert packed.shape == (3, k), f"{spec} sends {tuple(packed.shape)}; allowed: {(3, k)}"
            back = code.decompress(packed)
            assert back.shape == (3, d), f"{spec} gives back {tuple(back.shape)}; allowed: {(3, d)}"
            assert packed.dtype == back.dtype == dtype, f"{spec} makes {packed.dtype}, {back.dtype} of {dtype}"


def works_where_its_rows_are(spec: Spec) -> None:
    """Rows on another device than the processor's are compressed and decompressed there: here one that holds shapes."""
    for d in _DIMENSIONS:
        code = _code(spec, d)
        packed = code.compress(_rows(3, d).to("meta"))
        back = code.decompress(packed)
        assert packed.is_meta, f"{spec} moves what it compresses to another device"
        assert back.is_meta, f"{spec} moves what it decompresses to another device"


def leaves_its_inputs_alone(spec: Spec) -> None:
    """Neither the updates nor the rows change."""
    for d in _DIMENSIONS:
        code, updates = _code(spec, d), _rows(3, d)
        packed = code.compress(updates)
        assert torch.equal(updates, _rows(3, d)), f"{spec} changes the updates"
        kept = packed.clone()
        code.decompress(packed)
        assert torch.equal(packed, kept), f"{spec} changes the rows"


def draws_equal_codes_from_equal_streams(spec: Spec) -> None:
    """All processes that know the stream have the same code, whatever the global state."""
    for d in _DIMENSIONS:
        np.random.seed(1)  # noqa: NPY002 - to show that it does not matter
        torch.manual_seed(1)
        first = _code(spec, d).compress(_rows(2, d))
        torch.manual_seed(2)
        assert torch.equal(first, _code(spec, d).compress(_rows(2, d))), f"{spec} differs between equal streams"


def draws_every_code_equally_often(spec: Spec) -> None:
    """The codes that are drawn are those of `codes`, equally often: chi-square, false-positive rate below 1e-6.

    A mask that is the same in half of the draws, or a sign that is +1 in two of three, has a p-value below 1e-12.
    """
    for d, codes in _all_codes(spec):
        if len(codes) > _MOST_DRAWN:
            continue
        expected: dict[bytes, int] = {}
        for code in codes:
            expected[_name(code, d)] = expected.get(_name(code, d), 0) + 1
        stream = public_stream(0, "draws", d)
        draws = max(_DRAWS_EACH * len(codes), _LEAST_DRAWS) if len(expected) > 1 else 3
        found = dict.fromkeys(expected, 0)
        for _ in range(draws):
            name = _name(_compressor(spec).code(d, stream), d)
            assert name in found, f"{spec} draws a code for {d} coordinates that is not among its codes"
            found[name] += 1
        if len(expected) > 1:
            p = _p_value(list(found.values()), [expected[name] * draws / len(codes) for name in found])
            assert p > _ALPHA, f"{spec} draws some codes for {d} coordinates too often: {list(found.values())}"


def _p_value(found: list[int], expected: list[float]) -> float:
    """Return the probability of counts that are as far from the expected ones, by the chi-square approximation."""
    counts, means = np.array(found), np.array(expected)
    return float(cast(float, stats.chi2.sf(float(((counts - means) ** 2 / means).sum()), len(found) - 1)))


def _name(code: Code, d: int) -> bytes:
    """Return what tells a code from others: what it makes of each coordinate."""
    return code.compress(torch.eye(d, dtype=torch.float64)).numpy().tobytes()


def compresses_each_row_alone(spec: Spec) -> None:
    """Rows in another order are compressed to the same rows, and hostile numbers stay in theirs."""
    for d in _DIMENSIONS:
        _check_alone(spec, _code(spec, d).compress, _rows(5, d))


def decompresses_each_row_alone(spec: Spec) -> None:
    """Rows in another order give the same updates, and hostile numbers spoil no other row, nor stop the server."""
    for d in _DIMENSIONS:
        code = _code(spec, d)
        _check_alone(spec, code.decompress, code.compress(_rows(5, d)))


def _check_alone(spec: Spec, change: Callable[[Tensor], Tensor], rows: Tensor) -> None:
    clean = change(rows)
    order = [3, 0, 4, 2, 1]
    assert torch.equal(change(rows[order]), clean[order]), f"{spec} depends on the order of the rows"
    for poison in (float("nan"), float("inf"), -float("inf"), 1e300, -1e30, 1e-40):
        poisoned = rows.clone()
        poisoned[2] = poison
        found = change(poisoned)
        assert torch.equal(found[[0, 1, 3, 4]], clean[[0, 1, 3, 4]]), f"{spec} lets {poison} into other rows"


def says_whether_it_is_linear(spec: Spec) -> None:
    """Linear: the sum of compressed ring words is the compressed sum, word for word, also where it wraps around.

    A compressor that does not say so has a reason: some rows do not add up.
    """
    if _compressor(spec).linear:
        for d in _DIMENSIONS:
            code = _code(spec, d)
            words = torch.from_numpy(public_stream(0, "words", d).integers(-_WORD, _WORD, size=(4, d)))
            sums = code.compress(words).sum(dim=0)
            assert torch.equal(sums, code.compress(words.sum(dim=0, keepdim=True))[0]), f"{spec} is not linear"
        return
    differs = False
    for d in _DIMENSIONS:
        code, rows = _code(spec, d), _rows(4, d)
        total = code.compress(rows.sum(dim=0, keepdim=True))[0]
        differs = differs or not torch.equal(code.compress(rows).sum(dim=0), total)
    assert differs, f"{spec} is linear, and does not say so"


def _decoded(codes: list[Code], rows: Tensor) -> Tensor:
    """Return what each code makes of the rows there and back, (codes, n, d)."""
    return torch.stack([code.decompress(code.compress(rows)) for code in codes])


def contracts_as_it_says(spec: Spec) -> None:
    """On average over all codes the squared error is at most 1 - contraction(d) of the squared length."""
    compressor = _compressor(spec)
    for d, codes in _all_codes(spec):
        delta = compressor.contraction(d)
        if delta is None:
            assert not compressor.error_feedback, f"{spec} feeds errors back, and proves no contraction"
            continue
        assert 0 < delta <= 1, f"{spec} states the contraction {delta} for {d} coordinates; allowed: 0 < delta <= 1"
        rows = torch.cat([_rows(6, d), torch.ones(1, d, dtype=torch.float64)])  # all equal: the worst for top-k
        errors = (_decoded(codes, rows) - rows).square().sum(dim=2).mean(dim=0)
        most = (1 - delta + _ROUNDING) * rows.square().sum(dim=1)
        assert bool((errors <= most).all()), f"{spec} loses {errors.tolist()}; its contraction allows {most.tolist()}"


def is_right_on_average(spec: Spec) -> None:
    """On average over all codes, rows that are compressed and decompressed are what they were."""
    for d, codes in _all_codes(spec):
        rows = _rows(4, d)
        found = _decoded(codes, rows).mean(dim=0)
        off = float((found - rows).abs().max())
        assert off <= 100 * _ROUNDING, f"{spec} is off by {off} on average over the codes for {d} coordinates"


def lengthens_no_row_beyond_its_gain(spec: Spec) -> None:
    """No row is longer, compressed, than gain(d) times itself: by the largest singular value of a linear code."""
    compressor = _compressor(spec)
    for d in _DIMENSIONS:
        gain = compressor.gain(d)
        if gain is None:
            continue
        codes = [_code(spec, d, seed) for seed in range(10)]
        for code in codes if d > 4 else [*codes, *islice(compressor.codes(d), _MOST_CODES)]:
            rows = torch.eye(d, dtype=torch.float64) if compressor.linear else _rows(20, d) / 50
            packed = code.compress(rows)
            if compressor.linear:
                ratio = float(cast(Tensor, torch.linalg.svdvals(packed))[0])
            else:
                ratio = float((row_norms(packed) / row_norms(rows).clamp(min=1e-9)).max())
            assert ratio <= gain * (1 + _ROUNDING), f"{spec} makes a row {ratio} times as long; its gain is {gain}"


def gives_back_all_that_it_left_out(spec: Spec) -> None:
    """With error feedback all that was sent, and what is still remembered, add up to all updates: to the last digit."""
    for d in _DIMENSIONS:
        errors = torch.zeros(3, d, dtype=torch.float64)
        sent = torch.zeros(3, d, dtype=torch.float64)
        total = torch.zeros(3, d, dtype=torch.float64)
        for turn in range(12):
            code, updates = _code(spec, d, turn), _rows(3, d, seed=turn)
            whole, errors = corrected(code, updates, errors)
            sent += code.decompress(code.compress(whole))
            total += updates
            assert torch.equal(sent + errors, total), f"{spec} loses something of the first {turn + 1} updates"
