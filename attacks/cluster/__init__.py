"""Attacks that know the clusters: where the faulty sit, what they claim, and what they send together, one a file."""
