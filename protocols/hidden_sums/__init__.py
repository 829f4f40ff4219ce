"""Cluster sums that nobody sees: only what an outer rule makes of them opens, one protocol a file.

A robust statistic (`protocols.secure_robust`) combines the inputs of single members; here all clusters of a round play
together: each adds its members' words, its sum stays shared, and a rule of `rules` combines the sums under encryption.
"""

from protocols.registry import Registry
from protocols.secure_robust import RobustStatistic

__all__ = ["hidden_sums"]


hidden_sums: Registry[RobustStatistic] = Registry("hidden sum", ("protocols.hidden_sums",), "cloister.hidden_sums")
