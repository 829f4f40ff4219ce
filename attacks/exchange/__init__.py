"""Attacks on the exchange of models between clusters where there is no server, one a file."""
