"""The invariants of the other parts of this repository: which tests hold them, which wait for which issue."""

from protocols.testing.invariants import beacons
from protocols.testing.invariants.contract import Invariant

__all__ = ["ENUMERATIONS", "HOUSE"]

_BEACONS = "tests/properties/test_beacons.py"
_CLUSTERINGS = "tests/properties/test_clustering.py"
_POLICIES = "tests/properties/test_clustering_policies.py"
_CHURN = "tests/properties/test_churn.py"
_DISCLOSURE = "tests/properties/test_disclosure.py"
_RULES = "tests/properties/test_aggregators.py"
_ORACLES = "tests/properties/test_aggregators_oracles.py"
_PRIVACY = "tests/properties/test_privacy.py"
_ROUND = "tests/units/test_round.py"
_NORMS = "tests/properties/test_robust_norms.py"
_ENGINES = "tests/units/test_tolerance_engines.py"
_SECRECY = "tests/properties/test_robust_secrecy.py"
_RANGE = "tests/properties/test_range_secrecy.py"

ENUMERATIONS = (
    f"{_SECRECY}::test_a_comparison_shows_nobody_more_than_its_result",
    f"{_SECRECY}::test_products_modulo_a_small_ring_show_nobody_more_than_what_is_opened",
    f"{_SECRECY}::test_a_bit_becomes_a_word_without_showing_anybody_what_it_is",
    f"{_RANGE}::test_a_range_check_shows_nobody_more_of_a_word_than_whether_it_passes",
    f"{_RANGE}::test_who_passes_and_the_sum_of_who_does_are_all_that_a_checked_sum_shows",
    f"{_RANGE}::test_of_several_coordinates_nobody_learns_which_one_is_out_of_range",
    f"{_RANGE}::TestHiddenSums",
)
"""What enumerates all randomness of what is computed on shared values: secrecy (I12) beside that of secure sums."""

HOUSE: tuple[Invariant, ...] = (
    Invariant(number=4, title="Partition", tests=(f"{_CLUSTERINGS}::test_every_policy_conforms",)),
    Invariant(
        number=7,
        title="Translation and scale equivariance",
        tests=(f"{_RULES}::test_every_rule_conforms", f"{_RULES}::TestEquivariance"),
    ),
    Invariant(
        number=11,
        title="Aggregator reference",
        tests=(
            f"{_RULES}::TestMean",
            f"{_RULES}::TestMedian",
            f"{_RULES}::TestTrimmedMean",
            f"{_RULES}::TestKrum",
            f"{_RULES}::TestGeometricMedian",
            f"{_RULES}::test_every_rule_conforms",
            f"{_ORACLES}::TestMeamed",
            f"{_ORACLES}::TestMultiKrum",
            f"{_ORACLES}::TestCaf",
            f"{_ORACLES}::TestCenteredClipping",
            "tests/properties/test_aggregators_kernels.py::TestNnm",
        ),
    ),
    Invariant(
        number=18,
        title="Row-space privacy over an epoch's sums",
        tests=(
            f"{_DISCLOSURE}::test_rank_and_determined_processes_are_those_over_the_rationals",
            f"{_DISCLOSURE}::test_the_least_honest_support_is_that_of_trying_every_set",
            f"{_DISCLOSURE}::test_batches_that_stay_together_never_disclose_more_than_their_sums",
            f"{_DISCLOSURE}::test_a_process_that_drops_out_is_the_difference_of_two_sums",
        ),
    ),
    Invariant(
        number=27,
        title="Outer breakdown",
        tests=(
            f"{_RULES}::TestHonestHull",
            f"{_RULES}::test_the_error_stays_within_kappa_times_the_honest_variance",
            f"{_RULES}::test_every_rule_conforms",
        ),
    ),
    Invariant(
        number=28,
        title="Influence of norm-bounded clusters",
        tests=(
            f"{_NORMS}::TestNormCheck::test_b_members_move_the_mean_by_at_most_what_the_norm_allows",
            f"{_NORMS}::TestCenteredClipping::test_byzantine_members_move_a_step_by_their_share_of_the_radius",
            f"{_NORMS}::TestClip::test_clipped_lengths_are_within_the_promised_bounds",
        ),
    ),
    Invariant(
        number=29,
        title="Norm check under encryption",
        tests=(
            f"{_NORMS}::TestNormCheck::test_an_update_of_norm_at_most_the_bound_always_passes_and_what_passes_is_not_longer",
            f"{_NORMS}::TestNormCheck::test_the_longest_allowed_passes_and_one_unit_more_does_not",
            f"{_NORMS}::TestNormCheck::test_a_word_whose_square_wraps_around_is_named_and_moves_nothing",
        ),
    ),
    Invariant(
        number=33,
        title="The aggregator gets clusters, not processes",
        tests=(f"{_ROUND}::test_the_rule_is_told_of_clusters_not_of_processes",),
    ),
    Invariant(
        number=37,
        title="Uniform placement",
        tests=(
            f"{_CLUSTERINGS}::TestRandom::test_every_assignment_of_processes_to_places_is_equally_likely",
            f"{_ENGINES}::test_monte_carlo_falls_inside_its_interval",
        ),
    ),
    Invariant(
        number=38,
        title="Placement that nobody can predict or bias",
        tests=(
            f"{_BEACONS}::TestTheExactLaw",
            f"{_BEACONS}::test_all_honest_processes_get_the_same_value_whatever_t_processes_do",
            f"{_BEACONS}::test_the_value_is_fixed_before_the_first_opening_whatever_is_opened_then",
            f"{_BEACONS}::test_every_set_of_t_processes_that_withholds_its_openings_is_recovered_from",
        ),
        evidence=beacons.is_unbiased,
    ),
    Invariant(
        number=39,
        title="Independent rounds, reproducible from the seed",
        tests=(
            f"{_CLUSTERINGS}::TestRandom::test_clusters_of_different_rounds_are_independent",
            f"{_CLUSTERINGS}::test_every_policy_conforms",
        ),
    ),
    Invariant(
        number=40,
        title="Churn keeps sizes",
        tests=(
            f"{_CHURN}::test_sizes_stay_balanced_through_any_history",
            f"{_CHURN}::test_a_join_moves_at_most_one_process_and_its_partner_more_than_it_swaps",
        ),
    ),
    Invariant(number=41, title="Stratification bound", tests=(f"{_POLICIES}::TestStratified",)),
    Invariant(
        number=42,
        title="Noise floor",
        tests=(f"{_PRIVACY}::TestDistributed", f"{_ROUND}::TestNoise"),
    ),
    Invariant(number=43, title="Privacy ledger", tests=(f"{_PRIVACY}::TestLedger", f"{_ROUND}::TestEpsilon")),
    Invariant(
        number=45,
        title="Probability engine",
        tests=(
            f"{_ENGINES}::test_the_engines_agree_with_exact_rationals_on_330_configurations",
            f"{_ENGINES}::test_the_exact_law_adds_up_to_one_and_its_mean_is_the_sum_of_shares",
            f"{_ENGINES}::test_the_sandwich_and_the_bounds_hold",
            f"{_ENGINES}::test_failure_grows_with_the_number_of_faults",
        ),
    ),
)
"""What concerns clusterings, rules, mechanisms and engines, which have conformance kits and tests of their own."""
