"""When joins form a cluster and leaves dissolve one: not at the same number of processes, so that neither undoes the
other."""

__all__ = ["even_sizes", "too_few", "too_many"]


def too_many(n: int, m: int, cluster_size: int) -> bool:
    """Return whether n processes in m clusters are enough to form one more: half a cluster beyond what it takes.

    So it takes half a cluster's worth of leaves before one is dissolved again, and as many joins after that.
    """
    return n >= (m + 1) * cluster_size + cluster_size // 2


def too_few(n: int, m: int, cluster_size: int) -> bool:
    """Return whether n processes are too few for m clusters, so that one has to be dissolved."""
    return n < m * cluster_size


def even_sizes(n: int, m: int) -> list[int]:
    """Return m sizes that differ by at most one and add up to n, largest first."""
    return [n // m + (j < n % m) for j in range(m)]
