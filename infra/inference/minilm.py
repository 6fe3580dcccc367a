"""Describes all-MiniLM-L6-v2 as an ONNX graph, with numpy and `onnx` alone.

The graph is a few hundred kilobytes: its matrices stay in the safetensors file, where ONNX
Runtime maps them (external data). What to do with it (sessions, batches) is left to `encoder`.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infra.inference.safetensors import Checkpoint

LAYERS = 6
HIDDEN = 384
HEADS = 12
TOKENS_MAX = 256
LAYER_NORM_EPSILON = 1e-12

# The layer (counted from 0) whose mean is given out besides the embedding: the last one forgets
# much of how a thing was said. Chosen on sentiment and intents, where it adds one point.
MIDDLE_LAYER = 3

_OPSET = 17
_CONTRIB = "com.microsoft"


class _Graph:
    """Collects nodes and weights; its methods return the name of the tensor that they add."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.weights.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def weight(self, name: str) -> str:
        """Refers to a tensor of the checkpoint file without copying it."""
        place = self.checkpoint.place(name)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=place.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.checkpoint.path.name),
            ("offset", str(place.offset_bytes)),
            ("length", str(place.size_bytes)),
        ):
            tensor.external_data.add(key=key, value=value)
        self.weights[name] = tensor
        return name

    def linear(self, values: str, name: str) -> str:
        """A dense layer on rows of tokens; PyTorch keeps its weights as [out, in]."""
        inputs = [values, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.add("Gemm", inputs, f"{name}.output", transB=1)

    def add_and_normalise(self, new: str, residual: str, name: str) -> str:
        # Plain Add and LayerNormalization take half the time of the fused SkipLayerNormalization
        # on a CPU (23 against 50 us for 16 tokens, measured); on a GPU the optimiser fuses them.
        summed = self.add("Add", [new, residual], f"{name}.summed")
        inputs = [summed, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.add(
            "LayerNormalization", inputs, f"{name}.output", axis=-1, epsilon=LAYER_NORM_EPSILON
        )

    def as_rows(self, values: str) -> str:
        """[n, t, 384] to [n*t, 384], the shape that Gemm takes."""
        shape = self.constant("shape.rows", np.array([-1, HIDDEN], np.int64))
        return self.add("Reshape", [values, shape], f"{values}.rows")

    def as_batch(self, rows: str) -> str:
        return self.add("Reshape", [rows, "shape.batch"], f"{rows}.batch")


def _embed(graph: _Graph) -> str:
    """Word, position and type embeddings, normalised; also leaves `lengths` and `shape.batch`."""
    # There is one segment only, so its type embedding is a constant that the positions can carry.
    positions = graph.checkpoint.read("embeddings.position_embeddings.weight")[:TOKENS_MAX]
    segment = graph.checkpoint.read("embeddings.token_type_embeddings.weight")[0]
    inputs = [
        "input_ids",
        "",
        graph.weight("embeddings.word_embeddings.weight"),
        graph.constant("embeddings.positions", positions + segment),
        "",
        graph.weight("embeddings.LayerNorm.weight"),
        graph.weight("embeddings.LayerNorm.bias"),
        "attention_mask",
    ]
    graph.nodes.append(
        helper.make_node(
            "EmbedLayerNormalization",
            inputs,
            ["embedded", "lengths"],
            domain=_CONTRIB,
            epsilon=LAYER_NORM_EPSILON,
        )
    )
    graph.add("Shape", ["embedded"], "shape.batch")
    return graph.as_rows("embedded")


def _layer(graph: _Graph, number: int, rows: str) -> str:
    name = f"encoder.layer.{number}"
    parts = [
        graph.as_batch(graph.linear(rows, f"{name}.attention.self.{part}"))
        for part in ("query", "key", "value")
    ]
    attended = graph.add(
        "MultiHeadAttention",
        [*parts, "", "lengths"],
        f"{name}.attended",
        domain=_CONTRIB,
        num_heads=HEADS,
    )
    projected = graph.linear(graph.as_rows(attended), f"{name}.attention.output.dense")
    middle = graph.add_and_normalise(projected, rows, f"{name}.attention.output.LayerNorm")
    wide = graph.linear(middle, f"{name}.intermediate.dense")
    active = graph.add("Gelu", [wide], f"{name}.active", domain=_CONTRIB)
    narrow = graph.linear(active, f"{name}.output.dense")
    return graph.add_and_normalise(narrow, middle, f"{name}.output.LayerNorm")


def _pool(graph: _Graph, middle: str, tokens: str) -> None:
    """Means over real tokens: of the middle layer, and of the last one scaled to length 1."""
    mask = graph.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    axis = graph.constant("axis.tokens", np.array([1], np.int64))
    row = graph.add("Unsqueeze", [mask, axis], "mask.row")
    count = graph.add("ReduceSum", [mask, axis], "mask.count", keepdims=1)
    # [n,1,t] x [n,t,384]: the sum over real tokens as one product.
    sums = [
        graph.add("Squeeze", [graph.add("MatMul", [row, layer], f"{layer}.row"), axis], f"{name}")
        for name, layer in (("middle.sum", middle), ("embedding.sum", tokens))
    ]
    graph.add("Div", [sums[0], count], "middle")
    # The mean's divisor would cancel in the normalisation, so the sum is enough.
    graph.add("LpNormalization", [sums[1]], "embedding", axis=-1, p=2)


def describe(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The fp32 model as ONNX whose weights are external data in the checkpoint's own file.

    Inputs: `input_ids`, `attention_mask`: int32 [n, t], padded on the right, t <= 256.
    Outputs: `embedding`: float32 [n, 384] of length 1; `middle`: float32 [n, 384], the mean of
    the middle layer; `tokens`: float32 [n, t, 384].
    Raises `MalformedCheckpoint` where the file is no MiniLM checkpoint.
    """
    graph = _Graph(checkpoint)
    rows = _embed(graph)
    middle = ""
    for number in range(LAYERS):
        rows = _layer(graph, number, rows)
        if number == MIDDLE_LAYER:
            middle = graph.as_batch(rows)
    tokens = graph.add("Reshape", [rows, "shape.batch"], "tokens")
    _pool(graph, middle, tokens)
    body = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info(name, TensorProto.INT32, ["n", "t"])
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", HIDDEN]),
            helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["n", HIDDEN]),
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", "t", HIDDEN]),
        ],
        list(graph.weights.values()),
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
    model = helper.make_model(body, opset_imports=opsets, producer_name="parley")
    model.ir_version = 8
    return model
