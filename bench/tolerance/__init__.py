"""`bench tolerance`: how likely a placement breaks a design, what is tolerated at worst, and which design is best."""

from bench.tolerance.answer import Answer, answers
from bench.tolerance.fitting import refusals
from bench.tolerance.question import Question, ask
from bench.tolerance.wording import describe, tabulate
from protocols.tolerance.policies import POLICIES

__all__ = ["POLICIES", "Answer", "Question", "answers", "ask", "describe", "refusals", "tabulate"]
