"""Attacks on the updates that Byzantine processes send, one a file.

Attacks that their sources define as one vector for all (`adaptive`, `alie`, `anti_clip`, `foe`, `hybrid_sparse`, `ipm`,
`mimic`, `min_max`, `min_sum`, `optimal_alie`, `optimal_ipm`, `rop`) send it from every Byzantine process, as do
`constant` and `zero`, whose updates are one number everywhere. Every other attack sends from each process its own.

`sine` and `lie_dct` are not offered: no source was found that defines them.
"""
