"""The benchmarks against peers measure what they say, at sizes that take no time."""

import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from attacks import attacks as registry
from attacks.api import World, look
from bench.cli import main
from bench.peers import Comparison, attacks, robust, robust_kept, robust_prices, sums
from bench.peers._byzfl import byzfl
from bench.peers.robust import MedianComparison, compare_robust_median
from bench.peers.robust_kept import Kept, kept_in, write_kept
from bench.peers.robust_prices import Price, Size, price_list, specs_for
from bench.peers.stock_median import StockRun
from bench.peers.sums import compare_sums, move_bytes
from bench.report.price_page import median_line, write_prices
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.network import NetworkError
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.types import Cost, Traffic


def test_the_sums_are_compared_with_stock_crypten_and_with_the_bytes_they_move() -> None:
    stock, moving, as_messages = compare_sums(members=3, coordinates=100, turns=1)
    assert stock.peer == "additive_stock"
    wire_bytes = 2 * 2 * 100 * 8 + 2 * 3 * 2 * 16 + 100 * 8 + 3 * 32 + 4 * 16
    assert moving.peer == f"moving {wire_bytes:,} bytes through one connection"
    assert as_messages.peer == "moving them as its messages, between 3 processes"
    assert min(stock.ours_s, stock.peer_s, moving.peer_s, as_messages.peer_s) > 0


def test_a_protocol_that_opens_other_sums_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PartyPool.open_sums

    def planted(self: PartyPool, protocol: Spec, words: torch.Tensor) -> OpenedSums:
        opened = original(self, protocol, words)
        return dataclasses.replace(opened, sums=opened.sums + 1) if protocol.name == "additive_stock" else opened

    monkeypatch.setattr(sums.PartyPool, "open_sums", planted)
    with pytest.raises(AssertionError, match="additive_stock opened other sums"):
        compare_sums(members=2, coordinates=10, turns=1)


class _Moving:
    """A pool and movers at once, without processes: a sum sends three messages, and so many are moved."""

    def __init__(self, moved: int) -> None:
        self._moved = moved

    def __enter__(self) -> "_Moving":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def open_sums(self, protocol: Spec, words: torch.Tensor) -> OpenedSums:
        return OpenedSums(sums=words.sum(dim=1), contributors=(0, 1), traffic=self._messages(3))

    def move(self) -> Traffic:
        return self._messages(self._moved)

    def _messages(self, count: int) -> Traffic:
        mpc = Cost(payload_bytes=8 * count, wire_bytes=24 * count, messages=count, rounds=1)
        return Traffic(offline=Cost.none(), mpc=mpc, upload=Cost.none())


@pytest.mark.parametrize("moved", [2, 3, 4])
def test_moving_other_messages_than_a_sum_sends_is_not_timed(monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    monkeypatch.setattr(sums, "PartyPool", lambda members: _Moving(moved))
    monkeypatch.setattr(sums, "Movers", lambda members, coordinates: _Moving(moved))
    if moved == 3:
        assert len(compare_sums(members=2, coordinates=10, turns=1)) == 3
        return
    with pytest.raises(AssertionError, match="other messages are moved"):
        compare_sums(members=2, coordinates=10, turns=1)


@pytest.mark.parametrize("count", [0, 1, 2**18, 2**18 + 1])
def test_all_bytes_are_moved(count: int) -> None:
    assert move_bytes(count) == count


def test_attacks_are_compared_with_byzfls_at_the_sizes_asked_for() -> None:
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    found = attacks.compare_attacks(n=12, f=3, d=50, turns=1)
    assert {each.name for each in found} >= {"alie (float64)", "alie (float32)", "optimal_alie (float32)"}
    assert {(each.n, each.d) for each in found} == {(12, 50)}
    assert all(min(each.ours_s, each.peer_s) > 0 for each in found)


def test_an_attack_that_sends_something_else_than_byzfls_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    factory = type(registry.make(registry.resolve("alie")))
    original = factory.__call__
    monkeypatch.setattr(factory, "__call__", lambda self, view: original(self, view) + 1e-3)
    with pytest.raises(AssertionError, match="alie: byzfl sends something else"):
        attacks.compare_attacks(n=12, f=3, d=50, turns=1)


def test_attacks_agree_with_byzfls_where_it_defines_the_same_and_differ_as_said() -> None:
    """Equal: IPM, and infinities. Not equal: ALIE adds where ours subtracts, and divides by k - 1 (both checked by
    compare_attacks above); its sign flip is minus the mean of the honest updates, ours minus each sender's own times
    four (Li et al. 2019); its mimic copies a process by number, ours learns which (Karimireddy et al. 2022); its
    searches only lengthen the factor while they contract, ours look on both sides of the best.
    """
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    module = byzfl()
    for seed in range(5):
        world = attacks.make_round(n=12, f=3, d=20)
        honest = world.honest + seed
        world = dataclasses.replace(world, honest=honest)
        sent = {name: _sent(name, world) for name in ("sign_flip", "mimic", "nan_inf_huge", "ipm")}
        assert torch.allclose(sent["ipm"][0].float(), module.InnerProductManipulation(1.0)(honest), atol=1e-6)
        assert torch.equal(sent["nan_inf_huge"][0], torch.as_tensor(module.Inf()(honest)))
        assert torch.equal(sent["sign_flip"], -4.0 * world.own)
        assert torch.allclose(module.SignFlipping()(honest), -honest.mean(dim=0).float(), atol=1e-6)
        copied = int((honest == sent["mimic"][0]).all(dim=1).nonzero())
        assert torch.equal(module.Mimic(copied)(honest), honest[copied])


@pytest.mark.parametrize("name", ["optimal_alie", "optimal_ipm"])
def test_a_search_moves_the_result_about_as_far_as_byzfls_or_farther(name: str) -> None:
    """Both are best-effort searches of 20 runs on the same trimmed mean; seen: 0.995 to 1.02 times as far."""
    if _byzfl_error():
        pytest.skip(_byzfl_error())
    for rows in (12, 20, 40):
        world = attacks.make_round(n=rows, f=rows // 5, d=50)
        theirs = torch.as_tensor(attacks.byzfl_rows(name, world)()).double().expand_as(world.own)
        mean = world.honest.mean(dim=0)
        reached = [float((world.aggregate(each) - mean).norm()) for each in (_sent(name, world), theirs)]
        assert reached[0] > 0.9 * reached[1]


def _sent(name: str, world: World) -> torch.Tensor:
    config = {"name": name, "value": "inf"} if name == "nan_inf_huge" else name
    attack: Any = registry.make(registry.resolve(config))
    return attack(look(registry.entry(name).facts["knowledge"], world))


def _byzfl_error() -> str:
    try:
        byzfl()
    except CloisterError as error:
        return str(error)
    return ""


class Threads:
    """What the benchmarks ask of a pool, without its processes."""

    def __init__(self, parties: int, **_: float) -> None:
        self._parties = InProcessParties(parties)

    def __enter__(self) -> InProcessParties:
        return self._parties

    def __exit__(self, *_: object) -> None:
        pass


KEYWORDS = dict(price_list.__kwdefaults__ or {})
KINDS = ("csv", "json", "md", "png")
SMALL = (Size(d=10), Size(d=40, k=0.25), Size(d=80, k=0.25), Size(d=10**6, k=0.1, run=False))


def test_the_price_list_has_every_statistic_at_every_size_measured_beside_its_formula(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(robust_prices, "PartyPool", Threads)
    names = ["median", "norm_check", "sign_majority"]
    prices = price_list(names=names, parties=(3,), sizes=SMALL, turns=1)
    asked = [(name, c, size.d, size.k) for c in (3,) for name in names for size in SMALL]
    assert [(price.statistic, price.parties, price.d, price.k) for price in prices] == asked
    for price in prices:
        assert 0 < price.offline_bytes < price.formula_bytes
        assert price.label.startswith(price.statistic)
        assert 2 <= price.offline_rounds < price.formula_rounds
        assert (price.seconds is None) == (price.d == 10**6)
        measured = price.measured_bytes, price.measured_rounds, price.measured_comparisons
        formula = price.formula_bytes, price.formula_rounds, price.formula_comparisons
        assert measured in ((None, None, None), formula)
        assert price.formula_comparisons > 0
    assert [price.coordinates for price in prices[:4]] == [10, 10, 20, 10**5]
    table, rows, text, figure = write_prices(
        tmp_path, Kept(median=COMPARED, prices=tuple(prices)), {"command": "bench"}
    )
    assert len(json.loads(table.read_text())["prices"]) == len(prices)
    first, *others = list(csv.DictReader(io.StringIO(rows.read_text())))
    assert len(others) == len(prices) - 1
    assert list(first) == [field.name for field in dataclasses.fields(Price)]
    assert first["measured_comparisons"] == first["formula_comparisons"] == str(prices[0].formula_comparisons)
    assert len([line for line in text.read_text().splitlines() if line.startswith("|")]) == len(prices) + 2
    assert "At least 2 times each is asked: both hold." in text.read_text()
    assert figure.read_bytes().startswith(b"\x89PNG")


COMPARED = MedianComparison(
    time=Comparison(name="median", peer="stock", ours_s=1.0, peer_s=2.0, ratio=2.0),
    ours_bytes=1,
    peer_bytes=2,
    bytes_ratio=2.0,
)


@pytest.mark.parametrize("worse", [{"bytes_ratio": 1.9}, {"time": dataclasses.replace(COMPARED.time, ratio=1.9)}])
def test_a_median_that_is_slower_or_larger_than_asked_is_said_to_be(worse: dict[str, Any]) -> None:
    assert "both hold" in median_line(COMPARED)
    assert "MISSED" in median_line(dataclasses.replace(COMPARED, **worse))


class TestPricesInPieces:
    """What was measured before a run ended is not measured again, and all of it is in the files."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(robust_prices, "PartyPool", Threads)
        monkeypatch.setattr(robust_prices.price_list, "__kwdefaults__", {**KEYWORDS, "sizes": SMALL})
        monkeypatch.setattr(robust_kept, "compare_robust_median", lambda **_: COMPARED)

    def run(self, *arguments: str) -> int:
        with mock.patch("sys.argv", ["bench", "peers", "robust", "--turns", "1", *arguments]):
            try:
                main()
            except SystemExit as exit_:
                return int(exit_.code or 0)
        return 0

    def test_a_run_that_fails_keeps_what_it_has_and_another_one_measures_the_rest_alone(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        out, asked = str(tmp_path), ("--statistics", "sign_majority,median", "--parties", "3,4")
        original, calls = InProcessParties.open_sums, Counter[tuple[str, int]]()

        def counted(self: InProcessParties, protocol: Spec, words: torch.Tensor) -> OpenedSums:
            calls[protocol.name, words.shape[1]] += 1
            if failing and words.shape[1] == 4:
                raise NetworkError("a party is gone")
            return original(self, protocol, words)

        monkeypatch.setattr(InProcessParties, "open_sums", counted)
        failing = True
        assert self.run("--out", out, *asked) == 2
        assert {price["parties"] for price in json.loads((tmp_path / "prices.json").read_text())["prices"]} == {3}
        failing, before = False, dict(calls)
        assert self.run("--out", out, "--resume", *asked) == 0
        assert {key: count - before.get(key, 0) for key, count in calls.items()} == {
            **{("sign_majority", 3): 0, ("median", 3): 0},
            **{(name, 4): 1 + len({size.sent for size in SMALL if size.run}) for name in ("sign_majority", "median")},
        }
        found = json.loads((tmp_path / "prices.json").read_text())
        assert [(each["parties"], each["statistic"], each["d"]) for each in found["prices"]] == [
            (members, name, size.d) for members in (3, 4) for name in ("median", "sign_majority") for size in SMALL
        ]
        assert found["median"] == dataclasses.asdict(COMPARED)
        assert sorted(each.name for each in tmp_path.iterdir()) == [f"prices.{kind}" for kind in KINDS]

    def test_prices_of_other_code_or_turns_and_files_that_hold_none_are_refused(self, tmp_path: Path) -> None:
        write_kept(tmp_path, Kept(median=COMPARED), {"code": "other", "turns": 1})
        for code, turns in (("mine", 1), ("other", 2)):
            with pytest.raises(CloisterError, match="was measured with"):
                kept_in(tmp_path, code=code, turns=turns)
        assert kept_in(tmp_path, code="other", turns=1) == Kept(median=COMPARED)
        (tmp_path / "prices.json").write_text("[]")
        with pytest.raises(CloisterError, match="holds no prices"):
            kept_in(tmp_path, code="other", turns=1)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--resume"], "with --out FOLDER"),
            (["--parties", "3,a"], "parties = '3,a' are no numbers"),
            (["--parties", "2"], "parties = 2"),
            (["--statistics", "medain"], "did you mean"),
        ],
    )
    def test_what_cannot_be_measured_is_refused_in_one_line(
        self, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(*arguments) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("members", [3, 5, 8])
def test_by_default_every_statistic_has_a_price(members: int) -> None:
    assert [spec.name for spec in specs_for(members)] == list(robust_statistics.entries())


def test_coordinates_that_leave_a_statistic_no_range_have_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robust_prices, "PartyPool", Threads)
    assert price_list(names=["norm_check"], parties=(3,), sizes=[Size(d=10**12, run=False)], turns=1) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda opened: {"sums": opened.sums + 1}, "opened other words"),
        (lambda opened: {"traffic": opened.traffic.beside(opened.traffic)}, "sent Traffic"),
    ],
)
def test_a_statistic_that_opens_other_words_or_costs_more_has_no_price(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[OpenedSums], dict[str, object]], reason: str
) -> None:
    monkeypatch.setattr(robust_prices, "PartyPool", Threads)
    original = InProcessParties.open_sums

    def planted(self: InProcessParties, protocol: Spec, words: torch.Tensor) -> OpenedSums:
        opened = original(self, protocol, words)
        return dataclasses.replace(opened, **change(opened))

    monkeypatch.setattr(InProcessParties, "open_sums", planted)
    with pytest.raises(AssertionError, match=reason):
        price_list(names=["sign_majority"], parties=(3,), sizes=[Size(d=10)], turns=1)


def test_the_median_is_compared_with_stock_crypten_in_time_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robust, "PartyPool", Threads)
    monkeypatch.setattr(robust, "run_stock_median", lambda _: StockRun(seconds=1e6, wire_bytes=10**9))
    compared = compare_robust_median(coordinates=10, turns=1)
    assert compared.time.peer_s == 1e6
    assert compared.time.ratio > 1
    assert compared.bytes_ratio == 10**9 / compared.ours_bytes
