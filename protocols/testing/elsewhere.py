"""A second device, which computes as the processor does: what works there makes its tensors where its inputs are.

It stands for an accelerator on machines that have none. A tensor of it says that it is on the device `meta`, holds an
ordinary tensor, and every operation is done on what they hold. As on an accelerator, an operation does not mix tensors
of two devices, but for scalars, indices and copies; numpy does not see a tensor that is not on the processor; and what
is made without a device is on the processor. So the branches of a rule that are for accelerators run, and their
numbers can be compared.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["ELSEWHERE", "TwoDevicesError", "back", "elsewhere", "moved"]

ELSEWHERE = torch.device("meta")
_HERE = torch.device("cpu")

_COPIES = ("aten::copy_",)  # from one device to the other
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_")  # by indices on the processor, too


class TwoDevicesError(RuntimeError):
    """Tensors of two devices met in one operation, or a result is not where it should be."""


class _Held(Tensor):
    """A tensor on the second device; `content` is what it holds."""

    content: Tensor

    @staticmethod
    def __new__(cls: type["_Held"], content: Tensor) -> "_Held":
        shape: dict[str, Any] = {"strides": content.stride(), "storage_offset": content.storage_offset()}
        made: Any = cast(Any, Tensor)._make_wrapper_subclass(
            cls, content.shape, dtype=content.dtype, device=ELSEWHERE, **shape
        )
        made.content = content
        return made

    __torch_function__ = cast(Any, torch)._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse: only Elsewhere knows what is allowed."""
        raise TwoDevicesError(f"{func} of a tensor on the second device, outside of `with elsewhere():`")


class _Operations(TorchDispatchMode):
    """Does what is asked of tensors on the second device, on what they hold."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do one operation."""
        named = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)]
        held = [tensor for tensor in tensors if isinstance(tensor, _Held)]
        _check_devices(func, args, tensors)
        wanted = named.get("device")
        there = bool(held) if wanted is None else torch.device(wanted) == ELSEWHERE
        if there and wanted is not None:
            named["device"] = _HERE
        result = func(*tree_map(_content, args), **tree_map(_content, named))
        owners = {id(tensor.content): tensor for tensor in held}  # of operations in place
        return tree_map(partial(_kept, owners), result) if there else result


def _kept(owners: Mapping[int, _Held], leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return owners[id(leaf)] if id(leaf) in owners else _Held(leaf)


def _content(leaf: Any) -> Any:
    return leaf.content if isinstance(leaf, _Held) else leaf


def _check_devices(func: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Raise TwoDevicesError where an accelerator would refuse."""
    if any(tensor.is_meta and not isinstance(tensor, _Held) for tensor in tensors):
        raise TwoDevicesError(f"{func} of a tensor on {ELSEWHERE} that holds nothing")
    name = func._schema.name
    if name in _INDEXED and isinstance(args[0], _Held):
        tensors = [args[0], *(leaf for leaf in tree_leaves(args[2:]) if isinstance(leaf, Tensor))]
    here = [tensor for tensor in tensors if not isinstance(tensor, _Held)]
    if len(here) < len(tensors) and name not in _COPIES and any(tensor.dim() for tensor in here):
        raise TwoDevicesError(f"{func} of tensors on two devices")


class _Literals(TorchFunctionMode):
    """Does what an accelerator can do, and torch leaves out for this device before operations see it.

    That is what is made of, indexed by, or turned into lists of numbers.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call one function of torch."""
        named = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and named.get("device") == ELSEWHERE:
            return func(*args, **{**named, "device": _HERE}).to(ELSEWHERE)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            return func(args[0], _index(args[1]), *args[2:])
        if func is Tensor.tolist:
            return _content(args[0]).tolist()
        return func(*args, **named)


def _index(index: Any) -> Any:
    """Return an index with tensors in place of its lists."""
    if isinstance(index, tuple):
        return tuple(_index(part) for part in cast(tuple[Any, ...], index))
    return torch.tensor(index) if isinstance(index, list) else index


@contextmanager
def elsewhere() -> Generator[None]:
    """While it lasts, operations on the second device are done.

    Guarantees:
        The result of an operation on the second device is there, with the numbers that the processor computes.
        An operation on vectors of both devices raises TwoDevicesError.
    """
    with _Operations(), _Literals():
        yield


def moved(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor on the second device."""
    return _Held(tensor.clone())


def back(tensor: Tensor) -> Tensor:
    """Return what a tensor on the second device holds. Raises: TwoDevicesError for one that is not there."""
    if not isinstance(tensor, _Held):
        raise TwoDevicesError(
            f"a tensor of shape {tuple(tensor.shape)} is on {tensor.device}, not on the second device"
        )
    return tensor.content
