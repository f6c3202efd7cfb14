"""Run a face detector's ONNX graph in PyTorch, so that CUDA needs no build of ONNX Runtime.

Only the operators of CenterFace and SCRFD are supported. Shapes are computed on the CPU, all
else on the device, in float32 or float16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from jadfer_cli.errors import ModelError

Tensors = list[Any]  # torch.Tensor, or None for an omitted optional input


class TorchGraph(nn.Module):
    """An ONNX graph with one image input, as a PyTorch module.

    Args:
        model: An onnx.ModelProto.

    Raises:
        ModelError: It has an operator, or an attribute value, that is not supported.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        import onnx

        graph = model.graph
        self._names: dict[str, str] = {}  # initializer -> buffer
        self._integers: dict[str, torch.Tensor] = {}  # shapes and indices, kept on the CPU
        for tensor in graph.initializer:
            value = torch.from_numpy(np.array(onnx.numpy_helper.to_array(tensor)))
            if value.is_floating_point():
                self._names[tensor.name] = name = f"w{len(self._names)}"
                self.register_buffer(name, value)
            else:
                self._integers[tensor.name] = value
        known = set(self._names) | set(self._integers)
        self.input_name = next(i.name for i in graph.input if i.name not in known)
        self.output_names = [output.name for output in graph.output]
        self._nodes = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            _check(node.op_type, attributes)
            if node.op_type == "Constant":
                constant = torch.from_numpy(
                    np.array(onnx.numpy_helper.to_array(attributes["value"]))
                )
                self._integers[node.output[0]] = constant
                continue
            self._nodes.append(
                (_OPERATORS[node.op_type], list(node.input), node.output[0], attributes)
            )
        last_use: dict[str, int] = {}
        for i, (_, inputs, _, _) in enumerate(self._nodes):
            for name in filter(None, inputs):
                last_use[name] = i
        kept = set(self.output_names)
        # For each node, the values that no later node reads.
        self._freed = [
            [name for name in set(filter(None, inputs)) if last_use[name] == i and name not in kept]
            for i, (_, inputs, _, _) in enumerate(self._nodes)
        ]

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images (n, 3, H, W) to the graph's outputs, by name."""
        values: dict[str, Any] = {
            name: getattr(self, buffer) for name, buffer in self._names.items()
        }
        values |= self._integers
        values[self.input_name] = images
        for (operator, inputs, output, attributes), freed in zip(
            self._nodes, self._freed, strict=True
        ):
            values[output] = operator(
                [values[name] if name else None for name in inputs], attributes
            )
            for name in freed:  # keeping all values would take several times the memory
                del values[name]
        return {name: values[name] for name in self.output_names}


def _check(operator: str, attributes: dict[str, Any]) -> None:
    """Refuse operators and attributes that would not be computed as ONNX specifies.

    Raises:
        ModelError: The operator, or the value of an attribute, is not supported.
    """
    if operator not in _OPERATORS:
        raise ModelError(f"The detector uses the operator {operator}, which is not supported.")
    for name, supported in _SUPPORTED_VALUES.get(operator, {}).items():
        if name in attributes and attributes[name] not in supported:
            raise ModelError(
                f"The detector's operator {operator} has {name} = {attributes[name]!r}, which is "
                "not supported."
            )
    if operator == "Constant" and "value" not in attributes:
        raise ModelError("The detector has a constant without a value, which is not supported.")


_AUTO_PAD = {"auto_pad": (b"NOTSET",)}
_SUPPORTED_VALUES: dict[str, dict[str, tuple[Any, ...]]] = {
    "Conv": _AUTO_PAD,
    "ConvTranspose": {**_AUTO_PAD, "output_padding": ([0, 0],), "output_shape": ()},
    "MaxPool": {**_AUTO_PAD, "dilations": ([1, 1],)},
    "AveragePool": {**_AUTO_PAD, "dilations": ([1, 1],)},
    "Resize": {
        "mode": (b"nearest",),
        "coordinate_transformation_mode": (b"asymmetric",),
        "nearest_mode": (b"floor",),
    },
    "Cast": {"to": (6, 7)},
}


def _pads(attributes: dict[str, Any]) -> tuple[int, int]:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise ModelError("The detector uses uneven padding, which is not supported.")
    return int(top), int(left)


def _conv(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    bias = x[2] if len(x) > 2 else None
    return F.conv2d(
        x[0], x[1], bias, a.get("strides", [1, 1]), _pads(a), a.get("dilations", [1, 1]),
        a.get("group", 1),
    )  # fmt: skip


def _conv_transpose(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    bias = x[2] if len(x) > 2 else None
    return F.conv_transpose2d(
        x[0], x[1], bias, a.get("strides", [1, 1]), _pads(a), 0, a.get("group", 1),
        a.get("dilations", [1, 1]),
    )  # fmt: skip


def _batch_norm(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], False, 0.0, a.get("epsilon", 1e-5))


def _max_pool(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return F.max_pool2d(
        x[0], a["kernel_shape"], a.get("strides", [1, 1]), _pads(a),
        ceil_mode=bool(a.get("ceil_mode", 0)),
    )  # fmt: skip


def _average_pool(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return F.avg_pool2d(
        x[0], a["kernel_shape"], a.get("strides", [1, 1]), _pads(a),
        ceil_mode=bool(a.get("ceil_mode", 0)),
        count_include_pad=bool(a.get("count_include_pad", 0)),
    )  # fmt: skip


def _resize(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    if len(x) > 3 and x[3] is not None:
        size = [int(side) for side in x[3][2:]]
    else:
        size = [int(side * scale) for side, scale in zip(x[0].shape[2:], x[2][2:], strict=True)]
    return F.interpolate(x[0], size=size, mode="nearest")  # asymmetric, floor


def _shape(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return torch.tensor(list(x[0].shape))


def _gather(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    axis, index = a.get("axis", 0), x[1]
    taken: torch.Tensor = torch.index_select(x[0], axis, index.reshape(-1))
    return taken.squeeze(axis) if index.ndim == 0 else taken


def _unsqueeze(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    axes: Sequence[int] = a["axes"] if "axes" in a else x[1].tolist()
    value: torch.Tensor = x[0]
    for axis in sorted(axes):
        value = value.unsqueeze(axis)
    return value


def _slice(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    value: torch.Tensor = x[0]
    starts, ends = x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 and x[3] is not None else range(len(starts))
    if len(x) > 4 and x[4] is not None and set(x[4].tolist()) != {1}:
        raise ModelError("The detector slices with a step, which is not supported.")
    for start, end, axis in zip(starts, ends, axes, strict=True):
        value = value[(slice(None),) * axis + (slice(start, end),)]
    return value


def _reshape(x: Tensors, a: dict[str, Any]) -> torch.Tensor:
    shape = [x[0].shape[i] if n == 0 else n for i, n in enumerate(x[1].tolist())]
    value: torch.Tensor = x[0].reshape(shape)
    return value


_OPERATORS: dict[str, Callable[[Tensors, dict[str, Any]], torch.Tensor]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "Relu": lambda x, a: F.relu(x[0]),
    "Sigmoid": lambda x, a: torch.sigmoid(x[0]),
    "Add": lambda x, a: x[0] + x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Resize": _resize,
    "Shape": _shape,
    "Constant": lambda x, a: x[0],
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Slice": _slice,
    "Cast": lambda x, a: x[0].long(),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Reshape": _reshape,
}
