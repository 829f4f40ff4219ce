"""Combinations, schedules and splits of attacks: what a grid may say, and who then does what in which round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.plan import ALWAYS, Plan, Schedule, Split, Step, assign, label_of, specs_of
from attacks.reading import resolve_attack
from bench.cell import Cell, cell_key
from bench.experiment import parse_experiment, parse_setting
from bench.grid import expand
from protocols.check import CloisterError
from protocols.registry import Spec

FAULTY = np.arange(20) % 3 == 0  # 7 of 20


def cells_of(attack: str) -> list[Cell]:
    return expand(parse_experiment(f"[defaults]\nf = 4\n[[grid]]\nattack = {attack}", name="test"))


@pytest.mark.parametrize(
    "config", ["ipm", {"name": "ipm"}, ["ipm"], {"name": "ipm", "every": 1, "share": 1}, [{"name": "ipm", "tau": 1.0}]]
)
def test_a_single_attack_that_always_works_is_a_plain_spec(config: object) -> None:
    assert resolve_attack(config) == Spec(name="ipm", parameters=(("tau", 1.0),))


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (["label_flip", "sign_flip"], "label_flip + sign_flip"),
        ({"name": "ipm", "from_round": 5, "every": 2}, "ipm(from_round=5, every=2)"),
        ({"name": "ipm", "tau": 2.0, "share": 0.5}, "ipm(tau=2.0, share=0.5)"),
        ({"split": ["ipm", "none"]}, "(ipm | none)"),
        (
            {"split": [["label_flip", "sign_flip"], "alie"], "until_round": 3},
            "(label_flip + sign_flip | alie)(until_round=3)",
        ),
        (["label_flip", {"split": ["ipm", "alie"]}], "label_flip + (ipm | alie)"),
    ],
)
def test_a_plan_has_a_short_label_and_reads_back_from_its_configuration_and_its_file(
    config: object, label: str
) -> None:
    plan = resolve_attack(config)
    assert isinstance(plan, Plan)
    assert resolve_attack(plan.as_config()) == plan
    experiment = parse_experiment("[[grid]]\nf = 4", name="test").with_settings({"attack": [config]})
    (cell,) = expand(experiment)
    assert cell.labels()["attack"] == label
    assert expand(parse_experiment(experiment.to_toml(), name="again")) == [cell]
    assert len({cell, *expand(experiment)}) == 1


def test_faulty_processes_that_all_do_nothing_are_one_cell() -> None:
    """Otherwise the same experiment would run twice, and its report would show two rows for it."""
    nothing = [{"split": ["none", "none"]}, {"split": [["none"], "none", "none"]}, "none"]
    assert {resolve_attack(config) for config in nothing} == {Spec(name="none")}
    assert len(cells_of('["none", {split = ["none", "none"]}]')) == 1
    assert isinstance(resolve_attack({"split": ["none", "ipm"]}), Plan)
    with pytest.raises(CloisterError, match=r"'none' with a schedule.*leave out every"):
        resolve_attack({"split": ["none", "none"], "every": 2})


@pytest.mark.parametrize(
    "config",
    [
        ["crash", "label_flip"],
        ["dissensus", "label_flip"],
        ["spread_taint", "backdoor_trigger", "model_replacement"],
        ["isolate", "label_flip", "ipm"],
        [{"split": ["crash", "mute"]}, "label_flip"],
    ],
)
def test_attacks_that_do_not_change_updates_may_stand_before_attacks_on_data(config: list[object]) -> None:
    plan = resolve_attack(config)
    assert isinstance(plan, Plan)
    assert len(plan.stages) == len(config)


def test_a_nested_list_is_a_combination_and_a_flat_one_two_cells() -> None:
    assert [len(specs_of(cell.attack)) for cell in cells_of('["none", ["label_flip", "ipm"]]')] == [1, 2]
    assert parse_setting('attack=none,["label_flip","ipm"]') == ("attack", ["none", ["label_flip", "ipm"]])


def test_every_parameter_and_schedule_of_every_part_changes_the_key() -> None:
    plans = [
        "'ipm'",
        "['label_flip', 'ipm']",
        "['label_flip', {name = 'ipm', tau = 2.0}]",
        *(f"{{name = 'ipm', {part}}}" for part in ("from_round = 2", "until_round = 9", "every = 2", "share = 0.5")),
        "{name = 'ipm', ramp_rounds = 3}",
        "{split = ['ipm', 'alie']}",
        "{split = ['alie', 'ipm']}",
        "{split = ['alie', 'ipm'], every = 2}",
        "{split = ['alie', {name = 'ipm', every = 2}]}",
    ]
    keys = {cell_key(cells_of(f"[{plan}]")[0], "data") for plan in plans}
    assert len(keys) == len(plans)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "ipm", "frm_round": 2}, r"'ipm' has no parameter 'frm_round' \(did you mean 'from_round'\?\)"),
        ({"name": "imp", "every": 2}, r"attack = 'imp' is unknown \(did you mean 'ipm'\?\)"),
        ({"every": 2}, "has no name"),
        ({"name": "ipm", "from_round": 0}, "from_round = 0 is not allowed; allowed: an integer >= 1"),
        (
            {"name": "ipm", "from_round": 5, "until_round": 4},
            "until_round = 4 is not allowed; allowed: an integer >= 5",
        ),
        ({"name": "ipm", "every": 1.5}, r"every = 1\.5 is not allowed"),
        ({"name": "ipm", "ramp_rounds": True}, "ramp_rounds = True is not allowed"),
        ({"name": "ipm", "share": 0.0}, r"share = 0\.0 is not allowed"),
        ({"name": "ipm", "share": 1.1}, r"share = 1\.1 is not allowed; allowed: a number > 0 and <= 1"),
        ({"name": "ipm", "share": "half"}, "share = 'half' is not allowed"),
        ({"split": ["ipm"]}, "allowed: a list of two attacks or more"),
        ({"split": ["ipm", "alie"], "evry": 2}, r"no parameter 'evry' \(did you mean 'every'\?\)"),
        ({"split": ["ipm", "alie"], "name": "foe"}, "name = 'foe' beside split is not allowed"),
        ({"name": "none", "from_round": 2}, "'none' with a schedule is the same as without one; leave out from_round"),
        ({"split": ["ipm", {"name": "none", "share": 0.5}]}, "'none' with a schedule.*leave out share"),
        (["spread_taint", "ipm", "label_flip"], "'label_flip' after 'ipm' is not allowed"),
        (["score_gaming", "label_flip"], "'label_flip' after 'score_gaming' is not allowed"),
        (["omit_noise", "label_flip"], "'label_flip' after 'omit_noise' is not allowed"),
        ({"split": ["ipm", {"split": ["ipm", "alie"]}]}, "a split inside a split is not allowed"),
        ([], r"attack = \[\] is not allowed"),
        (["ipm", ["alie"]], r"attack = \['alie'\] inside a combination is not allowed; allowed: one flat list"),
        (["ipm", "label_flip"], "'label_flip' after 'ipm' is not allowed.*put it first"),
        ([{"split": ["ipm", "alie"]}, "label_flip"], "'label_flip' after 'ipm'"),
        (["none", "ipm"], "'none' in a combination means nothing"),
        (["ipm", 3], "attack = 3 is not allowed"),
    ],
)
def test_a_mistake_in_a_plan_is_one_line_with_the_way_out(config: object, message: str) -> None:
    with pytest.raises(CloisterError, match=message) as raised:
        resolve_attack(config)
    assert "\n" not in str(raised.value)


class TestASchedule:
    def test_starts_repeats_and_ends(self) -> None:
        schedule = Schedule(from_round=3, until_round=8, every=2)
        assert [number for number in range(1, 12) if schedule.strength(number - 1)] == [3, 5, 7]

    def test_grows_linearly_to_its_full_strength(self) -> None:
        schedule = Schedule(from_round=2, ramp_rounds=4)
        assert [schedule.strength(index) for index in range(7)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]

    def test_without_words_is_always_at_work(self) -> None:
        assert all(ALWAYS.strength(index) == 1.0 for index in range(5))
        assert not ALWAYS.as_config()


def parts_of(config: object, seed: int = 0) -> list[set[int]]:
    return [set(np.flatnonzero(part.senders).tolist()) for part in assign(resolve_attack(config), FAULTY, seed)]


BYZANTINE = set(np.flatnonzero(FAULTY).tolist())


class TestWhoDoesWhat:
    def test_all_faulty_processes_use_a_single_attack_and_every_stage_of_a_combination(self) -> None:
        assert parts_of("ipm") == [BYZANTINE]
        assert parts_of(["label_flip", "ipm"]) == [BYZANTINE, BYZANTINE]

    @given(seed=st.integers(0, 1000), branches=st.integers(2, 9))
    def test_a_split_gives_every_faulty_process_one_branch_in_equal_parts(self, seed: int, branches: int) -> None:
        groups = parts_of({"split": ["ipm"] * branches}, seed)
        assert sum(len(group) for group in groups) == len(BYZANTINE)
        assert set().union(*groups) == BYZANTINE
        assert max(map(len, groups)) - min(map(len, groups)) <= 1

    @given(seed=st.integers(0, 1000), share=st.floats(0.01, 1.0))
    def test_a_share_is_the_nearest_whole_number_and_shares_of_one_seed_are_nested(
        self, seed: int, share: float
    ) -> None:
        (some,) = parts_of({"name": "ipm", "share": share}, seed)
        (half,) = parts_of({"name": "alie", "share": 0.5}, seed)
        assert len(some) == max(1, round(share * len(BYZANTINE)))
        assert some <= BYZANTINE
        assert some <= half or half <= some

    def test_the_order_is_drawn_anew_for_another_seed(self) -> None:
        """Seven processes have 7 orders of their first: that 20 seeds draw one has probability 7^-19 < 1e-16."""
        assert len({frozenset(parts_of({"name": "ipm", "share": 0.1}, seed)[0]) for seed in range(20)}) > 1

    def test_a_share_of_a_split_and_of_its_branch_multiply(self) -> None:
        first, second = parts_of({"split": [{"name": "ipm", "share": 0.5}, "alie"], "share": 0.6})
        assert (len(first), len(second)) == (1, 2)  # 4 of 7, two for each branch, of one of them half


def test_a_branchs_schedule_and_its_splits_both_hold() -> None:
    plan = resolve_attack({"split": [{"name": "ipm", "every": 2}, "alie"], "from_round": 2})
    ipm, alie = assign(plan, FAULTY, 0)
    assert [ipm.strength(index) for index in range(4)] == [0.0, 0.0, 1.0, 0.0]
    assert [alie.strength(index) for index in range(4)] == [0.0, 1.0, 1.0, 1.0]
    assert not ipm.constant
    assert isinstance(plan, Plan)
    assert isinstance(plan.stages[0], Split)
    assert all(isinstance(step, Step) for branch in plan.stages[0].branches for step in branch)
    assert label_of(plan, lambda spec: spec.name) == "(ipm(every=2) | alie)(from_round=2)"
