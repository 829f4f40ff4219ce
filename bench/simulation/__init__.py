"""`bench simulate`: many rounds of re-clustering without training, beside what the theory predicts of them."""

from bench.simulation.request import Request, request
from bench.simulation.result import Outcome, describe, simulate
from bench.simulation.roundlog import RoundLog

__all__ = ["Outcome", "Request", "RoundLog", "describe", "request", "simulate"]
