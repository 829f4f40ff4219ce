"""What a backdoor adds to inputs."""

import torch
from torch import Tensor

from attacks.views import Rows

__all__ = ["bars", "corner", "stamped"]


def corner(shape: tuple[int, ...], size: int) -> Tensor:
    """Return a mask of a row's shape: a square of `size` in the lower right of images, else the last features."""
    mask = torch.zeros(shape, dtype=torch.bool)
    if len(shape) > 1:
        mask[..., -size:, -size:] = True
    else:
        mask[-size:] = True
    return mask


def bars(shape: tuple[int, ...], part: int | None = None) -> Tensor:
    """Return a mask of four bars in the upper left, two above two, or of one of them; of flat rows, the first features.

    Each bar is a seventh of an image wide (4 pixels of 28) with gaps of half of that; of flat rows, it is one of
    the first four groups of a sixteenth of all features.
    """
    mask = torch.zeros(shape, dtype=torch.bool)
    for number in range(4) if part is None else (part,):
        if len(shape) > 1:
            width = max(1, shape[-1] // 7)
            gap = max(1, width // 2)
            left, top = (number % 2) * (width + gap), (number // 2) * (1 + gap)
            mask[..., top : top + 1, left : left + width] = True
        else:
            width = max(1, mask.numel() // 16)
            mask[number * width : (number + 1) * width] = True
    return mask


def stamped(inputs: Tensor, mask: Tensor, clean: Rows) -> Tensor:
    """Return the inputs (rows, *shape) with the largest value of all clean inputs where the mask (*shape) is set."""
    return torch.where(mask, clean.inputs.max(), inputs)
