"""Counterexamples: each script runs against one installed package alone, without Cloister, and prints a verdict.

A script's docstring says what is shown and what is claimed; its last line of output begins with `violated`, with
`as documented` where the package says so itself, or with `holds`. `tests.systems.verdicts` runs them.
"""
