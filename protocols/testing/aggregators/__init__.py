"""The conformance kit of aggregators."""

from protocols.aggregators import aggregators, equivariance_of, takes_all_out
from protocols.registry import Spec
from protocols.testing import Check, examples_of
from protocols.testing.aggregators._contract import (
    computes_in_float32_what_it_does_in_float64,
    is_a_documented_frozen_dataclass,
    leaves_its_inputs_alone_and_repeats_itself,
    names_the_theorem_behind_its_coefficient,
    refuses_more_tainted_clusters_than_it_withstands,
    refuses_to_do_without_what_it_needs,
    refuses_what_is_no_rows_of_numbers,
    returns_one_finite_number_per_coordinate,
    returns_what_all_clusters_agree_on,
    says_whom_it_excludes,
    treats_each_cell_of_a_batch_alone,
    withstands_fewer_than_half_of_the_clusters,
    works_where_its_means_are,
)
from protocols.testing.aggregators._equivariance import (
    does_not_depend_on_the_order_of_the_clusters,
    does_not_grow_with_every_scaling,
    does_not_move_with_every_shift,
    grows_with_a_scaling_of_all_clusters,
    moves_with_a_shift_of_all_clusters,
)
from protocols.testing.aggregators._hostile import (
    HOSTILE,
    SCALES,
    is_not_carried_away_by_tainted_clusters,
    is_not_carried_away_by_tainted_clusters_at_many_distances,
    refuses_more_such_rows_than_it_is_told_to_tolerate,
    survives_hostile_numbers,
    takes_out_any_number_of_such_rows,
    takes_rows_out_that_cannot_be_computed_with,
)
from protocols.testing.aggregators._points import make_given, make_points
from protocols.testing.aggregators._promises import (
    changes_by_no_more_than_its_sensitivity,
    searched_violation,
    stays_within_its_coefficient,
    stays_within_its_coefficient_however_it_is_searched,
)

__all__ = [
    "HOSTILE",
    "SCALES",
    "changes_by_no_more_than_its_sensitivity",
    "computes_in_float32_what_it_does_in_float64",
    "conformance_checks",
    "does_not_depend_on_the_order_of_the_clusters",
    "does_not_grow_with_every_scaling",
    "does_not_move_with_every_shift",
    "example_specs",
    "grows_with_a_scaling_of_all_clusters",
    "is_a_documented_frozen_dataclass",
    "is_not_carried_away_by_tainted_clusters",
    "is_not_carried_away_by_tainted_clusters_at_many_distances",
    "leaves_its_inputs_alone_and_repeats_itself",
    "make_given",
    "make_points",
    "moves_with_a_shift_of_all_clusters",
    "names_the_theorem_behind_its_coefficient",
    "refuses_more_such_rows_than_it_is_told_to_tolerate",
    "refuses_more_tainted_clusters_than_it_withstands",
    "refuses_to_do_without_what_it_needs",
    "refuses_what_is_no_rows_of_numbers",
    "returns_one_finite_number_per_coordinate",
    "returns_what_all_clusters_agree_on",
    "says_whom_it_excludes",
    "searched_violation",
    "stays_within_its_coefficient",
    "stays_within_its_coefficient_however_it_is_searched",
    "survives_hostile_numbers",
    "takes_out_any_number_of_such_rows",
    "takes_rows_out_that_cannot_be_computed_with",
    "treats_each_cell_of_a_batch_alone",
    "withstands_fewer_than_half_of_the_clusters",
    "works_where_its_means_are",
]


def example_specs() -> list[Spec]:
    """Return every registered rule with its defaults and with each of its declared examples, without repeats."""
    return examples_of(aggregators)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the rule; one without a sensitivity or a coefficient passes that check."""
    entry = aggregators.entry(spec.name)
    promised = equivariance_of(entry)
    too_many = (
        takes_out_any_number_of_such_rows
        if takes_all_out(entry)
        else refuses_more_such_rows_than_it_is_told_to_tolerate
    )
    shift = moves_with_a_shift_of_all_clusters if "translation" in promised else does_not_move_with_every_shift
    scale = grows_with_a_scaling_of_all_clusters if "scale" in promised else does_not_grow_with_every_scaling
    return [
        is_a_documented_frozen_dataclass,
        names_the_theorem_behind_its_coefficient,
        withstands_fewer_than_half_of_the_clusters,
        returns_one_finite_number_per_coordinate,
        returns_what_all_clusters_agree_on,
        leaves_its_inputs_alone_and_repeats_itself,
        computes_in_float32_what_it_does_in_float64,
        treats_each_cell_of_a_batch_alone,
        works_where_its_means_are,
        does_not_depend_on_the_order_of_the_clusters,
        shift,
        scale,
        is_not_carried_away_by_tainted_clusters,
        is_not_carried_away_by_tainted_clusters_at_many_distances,
        takes_rows_out_that_cannot_be_computed_with,
        too_many,
        survives_hostile_numbers,
        refuses_what_is_no_rows_of_numbers,
        refuses_more_tainted_clusters_than_it_withstands,
        refuses_to_do_without_what_it_needs,
        says_whom_it_excludes,
        changes_by_no_more_than_its_sensitivity,
        stays_within_its_coefficient,
        stays_within_its_coefficient_however_it_is_searched,
    ]
