"""Writes a trained linear head as ONNX, with `onnx.helper` alone.

A head adds up three things: the embedding, the centred middle layer, and the buckets of the
text's word pieces. Weights are stored as float16 and computed as float32.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infra.inference.minilm import HIDDEN

_OPSET = 17


@dataclass(frozen=True, slots=True)
class LinearHead:
    """The weights of a head with c outputs.

    `embedding`, `middle`: [384, c]; `grams`: [8192, c], a bucket's weight before it is divided by
    the root of how many buckets the text has; `bias`: [c]; `middle_centre`: [384].
    """

    embedding: NDArray[np.float32]
    middle: NDArray[np.float32]
    grams: NDArray[np.float32]
    bias: NDArray[np.float32]
    middle_centre: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """sigmoid(slope * score + intercept), where the score is -max(softmax(z / temperature))."""

    temperature: float
    slope: float
    intercept: float


class _Body:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        array = np.asarray(values)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def half(self, name: str, values: NDArray[np.float32]) -> str:
        """A float16 constant, cast to float32 once when the session is built."""
        self.constant(f"{name}.half", values.astype(np.float16))
        return self.add("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output


def _margins(body: _Body, head: LinearHead) -> str:
    centre = body.constant("middle.centre", head.middle_centre)
    centred = body.add("Sub", ["middle", centre], "middle.centred")
    unit = body.add("LpNormalization", [centred], "middle.unit", axis=-1, p=2)
    dense = body.add("Concat", ["embedding", unit], "dense", axis=1)
    weight = body.half("dense.weight", np.vstack([head.embedding, head.middle]))
    bias = body.constant("bias", head.bias.astype(np.float32))
    dense_part = body.add("Gemm", [dense, weight, bias], "dense.part")

    # Row 0 is the padding's and weighs nothing.
    table = np.vstack([np.zeros((1, head.grams.shape[1]), np.float32), head.grams])
    rows = body.add("Gather", [body.half("grams.weight", table), "grams"], "grams.rows", axis=0)
    axis = body.constant("axis.grams", np.array([1], np.int64))
    summed = body.add("ReduceSum", [rows, axis], "grams.sum", keepdims=0)
    present = body.add("Cast", ["grams.present"], "grams.float", to=TensorProto.FLOAT)
    count = body.add("ReduceSum", [present, axis], "grams.count", keepdims=1)
    least = body.constant("one", np.float32(1))
    root = body.add("Sqrt", [body.add("Max", [count, least], "grams.some")], "grams.root")
    return body.add("Add", [dense_part, body.add("Div", [summed, root], "grams.part")], "margins")


def _scaled(body: _Body, margins: str, temperature: float, name: str) -> str:
    divisor = body.constant(f"{name}.temperature", np.float32(temperature))
    return body.add("Div", [margins, divisor], f"{name}.scaled")


def _out_of_scope(body: _Body, margins: str, detector: OutOfScope) -> None:
    scaled = _scaled(body, margins, detector.temperature, "scope")
    spread = body.add("Softmax", [scaled], "scope.softmax", axis=1)
    top = body.add("ReduceMax", [spread], "scope.top", axes=[1], keepdims=0)
    slope = body.constant("scope.slope", np.float32(-detector.slope))
    intercept = body.constant("scope.intercept", np.float32(detector.intercept))
    line = body.add("Add", [body.add("Mul", [top, slope], "scope.line"), intercept], "scope.logit")
    body.add("Sigmoid", [line], "out_of_scope")


def export(
    head: LinearHead, name: str, *, temperature: float = 1.0, detector: OutOfScope | None = None
) -> bytes:
    """The head as an ONNX model.

    Inputs: `embedding`, `middle`: float32 [n, 384]; `grams`: int64 [n, k], padded with 0.
    Outputs: `probabilities`: float32 [n, c], a softmax, or a sigmoid where c is 1; with a
    `detector` also `out_of_scope`: float32 [n].
    """
    body = _Body()
    zero = body.constant("zero", np.int64(0))
    body.add("Greater", ["grams", zero], "grams.present")
    margins = _margins(body, head)
    scaled = _scaled(body, margins, temperature, "class")
    classes = head.bias.shape[0]
    if classes == 1:
        body.add("Sigmoid", [scaled], "probabilities")
    else:
        body.add("Softmax", [scaled], "probabilities", axis=1)
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes])]
    if detector is not None:
        _out_of_scope(body, margins, detector)
        outputs.append(helper.make_tensor_value_info("out_of_scope", TensorProto.FLOAT, ["n"]))
    graph = helper.make_graph(
        body.nodes,
        name,
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", HIDDEN]),
            helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["n", HIDDEN]),
            helper.make_tensor_value_info("grams", TensorProto.INT64, ["n", "k"]),
        ],
        outputs,
        body.weights,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="parley")
    model.ir_version = 8
    return bytes(model.SerializeToString())
