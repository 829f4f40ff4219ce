"""Attacks on the messages of a secure sum, one a file: what a faulty member of a cluster does to what it sends."""
