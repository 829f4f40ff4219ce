"""The report: nothing loaded, nothing lost, every figure drawn or its absence explained."""

import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report import write_report
from bench.report.accuracy_figures import learning_curves
from bench.report.canvas import settings_of
from bench.report.effects import effects
from bench.report.figures import FIGURES, draw
from bench.report.layout import break_label, fit, flow, spread
from bench.report.study import MAX_BLOCKS, exchanges, guarantees, study, telling_attacks, times
from bench.report.theme import LIGHT
from bench.report.wording import human_bytes, human_seconds, log_ticks, short, shown
from bench.report.words import stories
from bench.statistics import mean_interval
from protocols.check import CloisterError

ENVIRONMENT = {"command": "bench run quick", "commit": "abc1234", "packages": {"numpy": "2.1"}, "cores": 2}
EXPERIMENT = 'title = "a small run"\nseeds = [0, 1]\n'
PICTURES = [f"{name}{end}" for name in FIGURES for end in (".png", ".svg", "-dark.png")]
VOID = {"meta", "img", "source", "br", "link"}


def line(number: int, *, seed: float, attack: str, **changed: object) -> dict[str, object]:
    """One finished line of results; attacks lower the accuracy where more clusters are tainted than tolerated."""
    tainted = {"none": 0, "ipm": 1}.get(attack, 3)
    accuracy = 0.9 - (0.5 if tainted > 1 else 0.02 * tainted) + 0.01 * math.sin(number)
    plugins = {"dataset": "digits", "partition": "iid", "model": "mlp", "clustering": "random", "protocol": "shamir"}
    sizes = {"aggregator": "krum", "privacy": "none", "n": 20, "f": 3, "cluster_size": 4, "rounds": 4}
    measured = {"accuracy": accuracy, "loss": 1 - accuracy, "attack_success": math.nan, "epsilon": "inf", "delta": 0.0}
    clusters = {
        "tainted_clusters": tainted,
        "tolerated_clusters": 1,
        "clusters": 5,
        "failed_clusters": 0,
        "sum_exact": True,
    }
    sent = {"bytes_total": 8.5e6, "bytes_offline": 5e5, "bytes_mpc": 7e6, "bytes_upload": 1e6, "mpc_rounds": 2}
    each = {"bytes_per_process_round": 1e5}
    spent = {"train_s": 1.0, "mpc_s": 2.0, "runtime_s": 3.5, "diverged_round": math.nan}
    base = {"status": "ok", "error": "", "seed": seed, "attack": attack, "key": f"key{number}"}
    return base | plugins | sizes | measured | clusters | sent | each | spent | changed


def results_of(
    attacks: tuple[str, ...] = ("none", "ipm", "alie"),
    privacies: tuple[str, ...] = ("none", "local(noise_multiplier=0.5)"),
    seeds: tuple[int, ...] = (0, 1),
    **changed: object,
) -> pd.DataFrame:
    cells = itertools.product(attacks, privacies, seeds)
    rows = [
        line(number, seed=seed, attack=attack, **({"privacy": privacy} | changed))
        for number, (attack, privacy, seed) in enumerate(cells)
    ]
    return pd.DataFrame(rows).assign(
        epsilon=lambda table: ["inf" if privacy == "none" else "8.25" for privacy in table["privacy"]]
    )


def rounds_of(results: pd.DataFrame) -> pd.DataFrame:
    own = ["run", "key"] if "run" in results else ["key"]
    points = results[results["status"] == "ok"][[*own, "accuracy"]].merge(
        pd.DataFrame({"round": range(5)}), how="cross"
    )
    points["accuracy"] *= points["round"] / 4
    return points.assign(loss=1 - points["accuracy"], bytes=0, seconds=0.0)


def test_of_many_attacks_the_learning_curves_tell_the_costly_ones_apart() -> None:
    """Of 30 attacks, no attack and the seven with the lowest mean accuracy have a colour; the others share one line."""
    names = ("none", *(f"alie(z={number})" for number in range(30)))
    results = results_of(names, privacies=("none",))
    places = results["attack"].map({name: place for place, name in enumerate(names)})
    results["accuracy"] = 0.9 - 0.5 * ((places * 7) % 31) / 31
    found = study(results, rounds_of(results))
    lowest = sorted(names[1:], key=lambda name: -((names.index(name) * 7) % 31))[:7]
    assert set(telling_attacks(found)) == {"none", *lowest}
    with mpl.rc_context(settings_of(LIGHT)):
        figure = learning_curves(found, LIGHT)
    (axes,), (legend,) = figure.axes, figure.legends
    assert len(axes.lines) == 31
    assert [text.get_text() for text in legend.get_texts()][-1] == "23 other attacks"
    assert len(legend.get_texts()) == 9
    assert len({line.get_color() for line in axes.lines}) == 9
    assert "grey: all others" in stories(found)["learning-curves"].caption


def test_of_few_attacks_every_one_has_a_colour_and_no_other_is_named() -> None:
    found = study(results_of(), rounds_of(results_of()))
    assert telling_attacks(found) == found.attacks
    assert "grey" not in stories(found)["learning-curves"].caption


def lose(results: pd.DataFrame, mask: pd.Series, status: str, error: str) -> pd.DataFrame:
    changed = results.copy().astype({"sum_exact": object})
    numbers = [name for name in changed if name not in {"seed", "n", "f", "cluster_size", "rounds"}]
    measured = changed[numbers].select_dtypes("number").columns
    changed[measured] = changed[measured].astype(float)
    changed.loc[mask, measured] = math.nan
    changed.loc[mask, "sum_exact"] = math.nan
    changed.loc[mask, ["status", "error", "epsilon"]] = [status, error, ""]
    return changed


class Page(HTMLParser):
    """What a page loads, shows and leaves open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [str(value) for name, value in attrs if name in {"src", "srcset", "href", "data", "action"}]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "pre"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def outside(text: str) -> list[str]:
    """Everything that a page would load from elsewhere, scripts included."""
    page = Page(text)
    scripts = [tag for tag in page.tags if tag in {"script", "link", "iframe", "object", "embed"}]
    addresses = [value for value in page.loaded if not value.startswith("data:image/png;base64,")]
    return scripts + addresses + re.findall(r"url\([^)]*\)|@import[^;]*", text)


def write(folder: Path, results: pd.DataFrame, rounds: pd.DataFrame | None = None) -> str:
    path = write_report(folder, results, rounds_of(results) if rounds is None else rounds, [ENVIRONMENT], [EXPERIMENT])
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with failed and skipped cells, its folder and its page."""
    results = results_of()
    results = lose(
        results, (results["attack"] == "alie") & (results["seed"] == 1), "failed", "<script>alert(1)</script>"
    )
    skipped = results.iloc[:1].assign(clustering="all", key="s", seed=math.nan)
    skipped = lose(skipped, skipped["key"] == "s", "skipped", "needs a sum & more, see http://example.org")
    folder = tmp_path_factory.mktemp("report")
    return folder, write(folder, pd.concat([results, skipped], ignore_index=True), rounds_of(results))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run of one seed in which every trial finished."""
    return write(tmp_path_factory.mktemp("clean"), results_of(seeds=(0,)))


def test_the_page_loads_nothing(whole: tuple[Path, str]) -> None:
    assert outside(whole[1]) == []
    assert "default-src 'none'" in whole[1]


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="https://example.org/a.png">',
        "<script></script>",
        '<link rel="stylesheet" href="a.css">',
        "<style>p { background: url(a.png) }</style>",
    ],
)
def test_a_page_that_loads_something_is_seen(planted: str) -> None:
    assert outside(f"<p>{planted}</p>")


def test_every_tag_is_closed(whole: tuple[Path, str]) -> None:
    assert Page(whole[1]).open == []


def test_a_text_from_outside_is_escaped(whole: tuple[Path, str]) -> None:
    assert "<script>" not in whole[1]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole[1]
    assert "<script>alert(1)</script>" in Page(whole[1]).text


def test_labels_and_experiments_and_facts_are_escaped_too(tmp_path: Path) -> None:
    results = results_of(attacks=("none", "<b>bold</b>"), seeds=(0,), privacies=("none",), clustering='"><i>')
    facts = {"command": "<u>", "nested": {"<s>": ["<em>"]}}
    path = write_report(tmp_path, results, rounds_of(results), facts, 'title = "</title><h6>"')
    assert not {"b", "i", "u", "s", "em", "h6"} & set(Page(path.read_text()).tags)


def test_every_failed_and_skipped_trial_is_on_the_page_with_its_reason(whole: tuple[Path, str]) -> None:
    text = Page(whole[1]).text
    assert "10 of 13 trials finished, 2 failed, 1 skipped" in text
    assert "failed alie, random, no privacy 1 <script>alert(1)</script>" in text
    assert "failed alie, random, local(noise_multiplier=0.5) 1 <script>alert(1)</script>" in text
    assert "skipped no attack, all, no privacy all needs a sum & more, see http://example.org" in text


def test_a_run_without_failures_says_none(clean: str) -> None:
    assert "Failed and skipped none" in Page(clean).text


def test_all_figures_are_written_and_shown_light_and_dark(whole: tuple[Path, str]) -> None:
    folder, text = whole
    assert sorted(file.name for file in (folder / "figures").iterdir()) == sorted(PICTURES)
    for name in PICTURES:
        head = (folder / "figures" / name).read_bytes()[:100]
        assert head.startswith(b"\x89PNG") if name.endswith(".png") else b"<?xml" in head
    page = Page(text)
    assert page.tags.count("img") == page.tags.count("source") == page.tags.count("figcaption") == len(FIGURES)
    assert len(set(page.loaded)) == 2 * len(FIGURES)


def test_every_figure_has_a_text_for_the_blind_and_a_caption_with_seeds_and_interval(whole: tuple[Path, str]) -> None:
    for image in Page(whole[1]).images:
        assert len(str(image["alt"])) > 40
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", whole[1], flags=re.DOTALL)
    assert len(captions) == len(FIGURES)
    for caption in captions:
        assert "1 to 2 finished" in caption
        assert "interval" in caption


def test_a_vector_figure_loads_nothing_either(whole: tuple[Path, str]) -> None:
    for file in (whole[0] / "figures").glob("*.svg"):
        found = re.findall(r'(?:href|src)="([^"#][^"]*)"', file.read_text())
        assert [address for address in found if not address.startswith("data:")] == []


def test_the_page_says_what_was_run_and_on_what(whole: tuple[Path, str]) -> None:
    text = Page(whole[1]).text
    for words in ("a small run", "command bench run quick", "commit abc1234", "packages numpy 2.1", "Experiment file"):
        assert words in text
    assert "seeds = [0, 1]" in whole[1]


def test_the_page_warns_that_noise_is_replayable(whole: tuple[Path, str]) -> None:
    words = "noise streams of this benchmark are replayable from the seed and must not protect real data"
    assert words in Page(whole[1]).text


def test_more_tainted_clusters_than_tolerated_are_marked_and_fewer_are_not(whole: tuple[Path, str]) -> None:
    text = Page(whole[1]).text
    assert "In 2 of 4 configurations under attack, more clusters were tainted than the rule tolerates" in text
    assert re.search(r'class="number bad">3 / 1<small>exceeds</small>', whole[1])
    assert re.search(r'class="number good">1 / 1<small>within</small>', whole[1])


def test_the_worst_attack_of_each_privacy_mode_is_named(whole: tuple[Path, str]) -> None:
    text = Page(whole[1]).text
    assert re.search(r"no privacy alie random 90\.\d % 4\d\.\d % −\d\d\.\d 3 / 1 exceeds", text)


def test_an_inexact_sum_is_shown_at_the_top_in_red_and_an_exact_one_is_not(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    assert 'role="alert"' not in whole[1]
    results = results_of(seeds=(0,), privacies=("none",))
    results.loc[1, "sum_exact"] = False
    text = write(tmp_path, results)
    alarm = text.index('class="alarm" role="alert"')
    assert alarm < text.index("In short")
    assert "differed from the plain sum in 1 trial" in text
    assert "ipm, random" in text[alarm : alarm + 400]


def test_a_run_of_failed_trials_only_is_reported(tmp_path: Path) -> None:
    results = results_of()
    text = write(tmp_path, lose(results, results["seed"] >= 0, "failed", "no memory"))
    page = Page(text)
    assert "0 of 12 trials finished, 12 failed" in page.text
    assert page.images == []
    assert page.text.count("No trial finished") + page.text.count("No finished trial") == len(FIGURES)
    assert list((tmp_path / "figures").iterdir()) == []


def test_no_results_at_all_are_reported(tmp_path: Path) -> None:
    assert "There are no results." in write(tmp_path, results_of().iloc[:0])


def test_one_seed_has_figures_and_no_intervals(clean: str) -> None:
    page = Page(clean)
    assert len(page.images) == len(FIGURES)
    assert "One seed, so there are no intervals." in page.text
    assert not re.search(r"± \d", page.text)


def test_a_figure_without_data_gives_way_to_a_sentence_and_its_old_files_go(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "accuracy-by-epsilon.png").touch()
    text = write(tmp_path, results_of(seeds=(0,), privacies=("none",)).assign(epsilon="unsupported"))
    assert "No finished trial has a finite epsilon" in text
    assert "3 configurations without a supported accounting left out" in text
    assert not list((tmp_path / "figures").glob("accuracy-by-epsilon*"))


def test_two_runs_of_the_same_cells_are_shown_apart(tmp_path: Path) -> None:
    first, second = results_of(run="run-a", privacies=("none",)), results_of(run="run-b", privacies=("none",))
    both = pd.concat([first, second], ignore_index=True)
    path = write_report(tmp_path, both, rounds_of(both), [ENVIRONMENT, ENVIRONMENT | {"cores": 64}], [EXPERIMENT] * 2)
    text = Page(path.read_text()).text
    assert "run run-a" in text
    assert "cores 64" in text
    assert study(both, rounds_of(both)).blocks == ("run run-a", "run run-b")


def test_two_runs_of_different_cells_share_one_block() -> None:
    both = pd.concat([results_of(attacks=(name,), run=f"run-{name}") for name in ("none", "ipm")], ignore_index=True)
    found = study(both, rounds_of(both))
    assert found.blocks == ("",)
    assert found.follows == ("run",)


def test_finished_trials_that_share_a_key_are_refused() -> None:
    both = pd.concat([results_of(run="a"), results_of(run="b")], ignore_index=True)
    with pytest.raises(CloisterError, match="share a key"):
        study(both, rounds_of(both).drop(columns="run"))


def test_an_absent_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloisterError, match="'mpc_s'"):
        write(tmp_path, results_of().drop(columns="mpc_s"), rounds_of(results_of()))


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    results = results_of(seeds=(0,), privacies=("none",))
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, results)
    write(second, results)
    for file in sorted(path for path in first.rglob("*") if path.is_file()):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), file.name


def test_drawing_leaves_the_settings_of_matplotlib_and_its_open_figures_alone(tmp_path: Path) -> None:
    results = results_of(seeds=(0,), privacies=("none",))
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    draw("runtime", study(results, rounds_of(results)), tmp_path)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == figures


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["dataset", "aggregator", "n", "cluster_size"]), unique=True), st.booleans())
def test_no_two_configurations_of_a_block_share_their_axes(varied: list[str], linked: bool) -> None:
    plain = results_of(attacks=("none", "ipm"), seeds=(0,), privacies=("none",))
    other = plain.assign(**{name: 7 if name in {"n", "cluster_size"} else "other" for name in varied})
    if linked:
        other = other.assign(attack=["sign_flip", "alie"])
    both = pd.concat([plain, other] if varied or linked else [plain], ignore_index=True)
    both = both.assign(key=[str(number) for number in range(len(both))])
    found = study(both, rounds_of(both))
    assert not found.summary.duplicated(subset=["block", "attack", "clustering", "privacy"]).any()
    assert set(found.summary["block"]) == set(found.blocks)
    assert len(found.summary) == len(both)


def test_blocks_that_are_not_drawn_are_counted_in_the_caption() -> None:
    many = pd.concat([results_of(seeds=(0,), aggregator=f"rule{number}") for number in range(MAX_BLOCKS + 2)])
    many = many.assign(key=[str(number) for number in range(len(many))])
    found = study(many, rounds_of(many))
    assert (len(found.blocks), found.hidden) == (MAX_BLOCKS, 2)
    assert "2 more combinations of settings not drawn" in stories(found)["accuracy-by-attack"].caption
    assert len(effects(found)) == 4 * (MAX_BLOCKS + 2)


def test_every_configuration_under_attack_has_one_line_of_effects() -> None:
    results = results_of()
    lost = lose(results, results["attack"] == "ipm", "failed", "gone")
    found = effects(study(lost, rounds_of(lost)))
    assert list(found["attack"]) == ["ipm", "ipm", "alie", "alie"]
    assert list(found["prediction"]) == ["unknown", "unknown", "exceeds", "exceeds"]
    assert list(found["observation"][:2]) == ["not measured"] * 2


def test_an_effect_is_paired_with_the_same_configuration_without_attack() -> None:
    results = results_of(seeds=(0, 1, 2))
    found = effects(study(results, rounds_of(results))).set_index(["attack", "privacy"]).loc["alie", "none"]
    chosen = results[results["privacy"] == "none"].pivot_table(index="seed", columns="attack", values="accuracy")
    own = mean_interval(chosen["alie"] - chosen["none"])
    assert (found["difference"], found["low"]) == (pytest.approx(own.mean), pytest.approx(own.low))
    assert found["observation"] == "lower"


def test_a_baseline_with_another_number_of_faulty_processes_serves_where_it_is_the_only_one() -> None:
    results = results_of(privacies=("none",))
    results.loc[results["attack"] == "none", "f"] = 0
    found = effects(study(results, rounds_of(results)))
    assert not found["clean"].isna().any()


def test_without_a_baseline_nothing_is_claimed() -> None:
    results = results_of(attacks=("ipm",))
    assert set(effects(study(results, rounds_of(results)))["observation"]) == {"no baseline"}


def test_the_tables_of_figures_hold_what_was_measured() -> None:
    results = results_of(seeds=(0,))
    found = study(results, rounds_of(results))
    assert set(exchanges(found)["bytes"]) == {1e5}
    assert set(exchanges(found)["worst_attack"]) == {"alie"}
    assert times(found)[["train_s", "mpc_s", "other_s"]].to_numpy().tolist() == [[1.0, 2.0, 0.5]] * 2
    assert set(guarantees(found)["epsilon"]) == {8.25, math.inf}


def test_many_bars_share_a_line_over_privacy_modes() -> None:
    results = results_of(seeds=(0,))
    assert set(times(study(results, rounds_of(results)), most=1)["privacy"]) == {""}


@given(st.lists(st.floats(0, 10), max_size=12), st.floats(0.01, 2))
def test_spread_places_are_apart_in_order_and_moved_only_where_needed(places: list[float], step: float) -> None:
    moved = spread(places, step)
    ordered = sorted(moved)
    assert all(b - a >= step * (1 - 1e-6) for a, b in itertools.pairwise(ordered))
    assert [moved[index] for index in np.argsort(places, kind="stable")] == ordered
    apart = all(b - a >= step for a, b in itertools.pairwise(sorted(places)))
    assert not apart or moved == pytest.approx(places)


@given(st.text("ab_=-.", min_size=1, max_size=40), st.lists(st.text("xy=._0", min_size=1, max_size=30), max_size=3))
def test_a_broken_label_loses_only_brackets_and_commas(name: str, parameters: list[str]) -> None:
    label = f"{name}({', '.join(parameters)})" if parameters else name
    broken = break_label(label, 1.0)
    assert broken.replace("\n", "") == name + "".join(parameters)
    assert max(map(len, broken.split("\n"))) <= 12


@given(st.floats(1e-3, 1e9), st.floats(1.05, 1e6))
def test_ticks_lie_inside_and_are_few(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert len(ticks) <= 4
    assert factor < 3 or len(ticks) >= 2


@given(st.lists(st.lists(st.text("abc ", min_size=1, max_size=60), min_size=1, max_size=6), min_size=1, max_size=4))
def test_legend_groups_never_overlap(groups: list[list[str]]) -> None:
    spots, height = flow(groups, 12.0)
    for before, after in itertools.pairwise(spots):
        assert after.y > before.y or after.x > before.x
    assert height > max(spot.y for spot in spots)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 5))
def test_panels_lie_on_the_sheet_and_apart(columns: list[int], rows: int) -> None:
    sheet = fit(
        titles=["title"] * len(columns),
        columns=columns,
        rows=rows,
        width=(1.5, 3.0),
        height=1.0,
        gap=(0.2, 0.2),
        margins=(0.5, 0.2, 0.3, 0.5),
    )
    corners = set()
    places = [(block, row, number) for block, own in enumerate(columns) for row in range(rows) for number in range(own)]
    for place in places:
        left, bottom, width, height = sheet.panel_at(*place)
        assert min(left, bottom) >= 0
        assert left + width <= 1 + 1e-9
        assert bottom + height <= 1 + 1e-9
        corners.add((round(left, 6), round(bottom, 6)))
    assert len(corners) == rows * sum(columns)
    assert [sheet.leads(0), sheet.ends(len(columns) - 1)] == [True, True]


@pytest.mark.parametrize(
    ("shown_text", "expected"),
    [
        (human_bytes(0), "0 B"),
        (human_bytes(999), "999 B"),
        (human_bytes(1500), "1.5 kB"),
        (human_bytes(999_700), "1 MB"),
        (human_bytes(2.5e15), "2500 TB"),
        (human_seconds(0.5), "0.50 s"),
        (human_seconds(12.34), "12.3 s"),
        (human_seconds(246), "4.1 min"),
        (human_seconds(9000), "2.5 h"),
        (short(0.934), ".93"),
        (short(1.0), "1.00"),
        (shown("privacy", "none"), "no privacy"),
        (shown("attack", "ipm"), "ipm"),
    ],
)
def test_numbers_and_labels_read_as_a_reader_says_them(shown_text: str, expected: str) -> None:
    assert shown_text == expected
