"""Which placements of faulty processes are tolerated, and how likely a uniformly random one is not."""
