"""Attacks on the updates that Byzantine processes send, one a file."""
