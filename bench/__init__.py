"""The bench: grids of federated trainings, measured and reported."""
