"""Other people's secure sums as systems under test: one a file, with what its authors claim.

Importing an adapter registers it under its file's name; without the package that it drives the import fails.
`bench new system` writes the file that a third party starts from.
"""
