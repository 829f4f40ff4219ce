"""Attacks on the training data of Byzantine processes, one a file."""
