"""The report of one or more runs: one HTML page with its figures."""

from bench.report.page import write_report

__all__ = ["write_report"]
