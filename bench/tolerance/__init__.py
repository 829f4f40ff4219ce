"""`bench tolerance`: how likely a placement breaks a design, what is tolerated at worst, and which design is best."""

from bench.tolerance.answer import Answer, answers
from bench.tolerance.question import Question, ask
from bench.tolerance.wording import describe, tabulate

__all__ = ["Answer", "Question", "answers", "ask", "describe", "tabulate"]
