"""Building an ONNX graph node by node, and where its weights lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # of 2022: old enough for every reader, and all that a transformer needs
IR_VERSION = 8
Array = np.ndarray[Any, Any]


class WeightFile:
    """Weights beside the graphs, each once, for all graphs that use them: a graph alone can hold 2 GiB at most."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        path.touch()

    def place(self, name: str, array: Array) -> tuple[int, int]:
        """Offset and length, in bytes, of an array of this name, which is written if it is not there yet."""
        if name not in self._places:
            with open(self.path, "ab") as file:
                offset = -(-file.tell() // 4096) * 4096  # readers map whole pages into memory
                file.truncate(offset)
                file.seek(offset)
                array.tofile(file)
            self._places[name] = (offset, array.nbytes)
        return self._places[name]


class GraphBuilder:
    """Calling it adds a node and gives the name of what it puts out, so that a graph reads like the formula.

    Attributes:
        inputs, outputs: descriptions of the graph's own, in order.
    """

    def __init__(self, weight_file: WeightFile | None = None) -> None:
        """With a weight file, weights go there; else the graph holds them itself."""
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._weight_file = weight_file

    def __call__(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node; its output is called `name`, or gets a name of its own."""
        name = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """An input of the graph; a word in its shape is a dimension that may be of any size."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> None:
        """Declare what is called so an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def integers(self, *numbers: int) -> str:
        """A constant list of integers, int64."""
        return self._constant("integers_" + "_".join(map(str, numbers)), np.array(numbers, dtype=np.int64))

    def slice_of(self, start: int, end: int, axis: int = 0) -> tuple[str, str, str]:
        """The inputs of "Slice" that take entries `start` to `end`."""
        return self.integers(start), self.integers(end), self.integers(axis)

    def number(self, number: float) -> str:
        """A constant number, float32."""
        return self._constant(f"number_{number}", np.array(number, dtype=np.float32))

    def _constant(self, name: str, value: Array) -> str:
        self._initializers.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, array: Array) -> str:
        """A constant of the model's."""
        if self._weight_file is None or array.nbytes < 1024:
            return self._constant(name, array)
        if name not in self._initializers:
            offset, length = self._weight_file.place(name, array)
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", self._weight_file.path.name),
                ("offset", offset),
                ("length", length),
            ):
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[name] = tensor
        return name

    def save(self, path: Path, name: str) -> None:
        """Write the graph as a model."""
        graph = helper.make_graph(
            self._nodes, name, self.inputs, self.outputs, [*self._initializers.values()]
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, producer_name="bittygpt", ir_version=IR_VERSION, opset_imports=[opset]
        )
        path.write_bytes(model.SerializeToString())
