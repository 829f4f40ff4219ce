"""Products of rows, and the squared distances that follow from them: O(m d + m^2) memory, not O(m^2 d).

|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y> cancels where rows are long against their distance, so rows ought to be taken
relative to a point in their midst first; `protocols.aggregators._distances` also bounds what is then left of the error.
"""

from torch import Tensor

__all__ = ["own_products", "squared_from"]


def own_products(rows: Tensor) -> Tensor:
    """Return the products (m, m) of rows (m, d) with each other, exactly symmetric."""
    products = rows @ rows.T
    return (products + products.T) / 2


def squared_from(products: Tensor) -> Tensor:
    """Return the squared distances (..., m, m) of rows with these products (..., m, m); none is below zero."""
    norms = products.diagonal(dim1=-2, dim2=-1)
    return (norms[..., :, None] + norms[..., None, :] - 2 * products).clamp(min=0)
