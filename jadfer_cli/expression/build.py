"""Rebuild a network from a stored config and its tensors, both of which may be wrong."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jadfer_cli.expression import networks

if TYPE_CHECKING:
    import torch

    from jadfer_cli.expression.networks.base import Network, NetworkConfig


def config(architecture: str, stored: Mapping[str, Any]) -> NetworkConfig:
    """The typed config of an architecture, with `earlier` values for absent fields.

    Imports PyTorch.

    Raises:
        TypeError: A value is unknown or of the wrong type.
        ValueError: A value is out of range.
    """
    kind = networks.load(architecture)
    return kind.config(**_typed(kind.config(), {**kind.earlier, **stored}))


def network(config: NetworkConfig, state: Mapping[str, torch.Tensor]) -> Network:
    """A network with stored weights, in eval mode.

    Raises:
        ValueError: The tensors do not fit the config.
    """
    build = networks.load(config.architecture).build
    try:
        _check_shapes(build, config, state)
        built = build(config)
        built.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, OverflowError, ArithmeticError, MemoryError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    return built.eval()


def _typed(default: NetworkConfig, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored values, each checked to be of the type of the default.

    Raises:
        TypeError: One is not.
    """
    typed, names = {}, {field.name for field in dataclasses.fields(default)}
    for name, value in stored.items():
        if name not in names:
            raise TypeError(f"{name!r} is unknown")
        known = getattr(default, name)
        if type(known) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(known) or (
            isinstance(known, tuple) and any(type(each) not in (int, float) for each in value)
        ):
            raise TypeError(f"{name} is {value!r}")
        typed[name] = value
    return typed


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Inside the block, new tensors have shapes only, and what fills or scales them does nothing.

    For some of these operations on such tensors PyTorch would import its compiler, which takes
    longer than all else that is done here.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class WithoutValues(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = {} if kwargs is None else kwargs
            scales = func in (torch.Tensor.mul, torch.Tensor.div)
            if func is torch.Tensor.normal_ or (scales and isinstance(args[1], (int, float))):
                return args[0]
            if getattr(func, "__module__", "") == "torch.nn.init":
                return args[0] if args else given["tensor"]
            if func is torch.eye:
                return torch.empty(args[0], args[0])
            return func(*args, **given)

    with torch.device("meta"), WithoutValues():
        yield


def _check_shapes(
    build: Callable[[Any], Network], config: NetworkConfig, state: Mapping[str, torch.Tensor]
) -> None:
    """Compares names, shapes and kinds of tensors before memory is taken for the network.

    Raises:
        ValueError: They differ.
    """
    with _without_values():
        wanted = build(config).state_dict()
    if odd := sorted(wanted.keys() ^ state.keys()):
        raise ValueError(f"the tensor {odd[0]!r} is missing or superfluous")
    for name, tensor in wanted.items():
        found = state[name]
        if found.shape != tensor.shape or found.is_floating_point() != tensor.is_floating_point():
            raise ValueError(
                f"the tensor {name!r} is {found.dtype} {tuple(found.shape)}, not {tensor.dtype} "
                f"{tuple(tensor.shape)}"
            )
