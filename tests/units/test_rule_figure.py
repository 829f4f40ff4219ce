"""The heat map of many attacks: families, and every configuration once in its place."""

from pathlib import Path

import matplotlib as mpl
import pytest

from bench.experiment import load_experiment
from bench.grid import expand
from bench.report.canvas import settings_of
from bench.report.rule_figure import families, is_long, rule_map
from bench.report.study import Study, study
from bench.report.theme import LIGHT
from bench.store import Store, load_results, load_rounds, make_row

LABELS = tuple(dict.fromkeys(cell.labels()["attack"] for cell in expand(load_experiment("attacks"))))


def test_every_attack_of_the_preset_is_in_one_family_by_what_it_knows() -> None:
    found = families(LABELS)
    assert sorted(label for own in found.values() for label in own if label != "none") == sorted(LABELS[1:])
    assert all(own[0] == "none" for own in found.values())
    place = {label: family for family, own in found.items() for label in own[1:]}
    assert place["free_rider(kind=constant)"] == place["zero"] == "updates, from what the senders have themselves"
    assert place["ipm(tau=10.0)"] == "updates, from all honest ones"
    assert place["adaptive"] == "updates, searched against the defence"
    assert place["label_flip"] == "training data"
    assert place["backdoor_trigger + model_replacement"] == "combinations"
    assert max(map(len, found.values())) <= 20


def test_an_attack_that_is_not_installed_is_among_the_others_and_a_split_among_the_combinations() -> None:
    assert families(["none", "someone_elses(scale=2.0)"]) == {"others": ("none", "someone_elses(scale=2.0)")}
    assert families(["(ipm | alie(z=1.0))(every=2)"]) == {"combinations": ("(ipm | alie(z=1.0))(every=2)",)}


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The preset's results, with accuracies that tell every cell from every other one."""
    return _studied(tmp_path_factory.mktemp("attacks"), {})


def _studied(out: Path, settings: dict[str, list[str]]) -> Study:
    store = Store(out)
    store.create()
    cells = expand(load_experiment("attacks").with_settings(settings))
    for number, cell in enumerate(cells):
        metrics = {"accuracy": number / len(cells), "loss": 1.0, "epsilon": "inf"}
        store.put(make_row(cell, f"cell{number}", status="ok", metrics=metrics))
    store.write_tables([f"cell{number}" for number in range(len(cells))])
    return study(load_results(out), load_rounds(out))


def test_every_configuration_is_drawn_and_the_figure_is_no_wider_than_a_page(preset: Study) -> None:
    assert is_long(preset)
    assert len(preset.blocks) == 6
    with mpl.rc_context(settings_of(LIGHT)):
        figure = rule_map(preset, LIGHT)
    bands = families(preset.attacks)
    panels = figure.axes[:-1]  # the last one is the scale of colours
    assert len(panels) == len(bands) * len(preset.clusterings)
    drawn = [text.get_text() for axes in panels for text in axes.texts]
    assert len(drawn) == 6 * len(preset.clusterings) * sum(map(len, bands.values()))
    beside = [label.get_text() for axes in panels[:: len(preset.clusterings)] for label in axes.get_yticklabels()]
    assert len(beside) == sum(map(len, bands.values()))
    width, height = figure.get_size_inches()
    assert width < 14
    assert height < 40


def test_few_attacks_or_a_single_rule_are_drawn_as_ever(tmp_path: Path) -> None:
    assert not is_long(_studied(tmp_path, {"attack": ["none", "ipm"]}))
