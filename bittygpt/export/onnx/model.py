"""The model as ONNX graphs, which ONNX Runtime, OpenVINO, browsers and phones run.

The graph is written down node by node instead of being traced: it is the formula, it has no shape that an example
froze, and it is made in a moment. Inputs and outputs have the names of Hugging Face's Optimum, which transformers.js
and onnxruntime-genai use too.

Shapes: B batch, T new positions, P positions held in the cache, S = P + T, D d_model, H heads, G key/value heads,
R = H / G of them to each, d head dimension, V vocabulary.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from bittygpt.core import ModelConfig, RotaryEmbedding, TransformerLM
from bittygpt.export.huggingface.folder import rounded
from bittygpt.export.onnx.graph import Array, GraphBuilder, WeightFile
from bittygpt.layouts.huggingface import halves_first, is_rotated

DTYPES = {"float32": torch.float32, "float16": torch.float16}
MOST_BYTES_IN_A_GRAPH = 1 << 30
LOWEST = -3.0e38  # a score that no softmax sees; not infinite, or a row of padding alone would be no number


def write_onnx(folder: Path, model: TransformerLM, dtype: str) -> None:
    """Write `model.onnx`, with caches, and `model_plain.onnx`, without; `dtype` is one of `DTYPES`.

    Large weights lie beside them, in `model.onnx_data`, once for both.

    Raises:
        UsageError: a weight is too large for `dtype`.
    """
    named = _weights(model, DTYPES[dtype])
    is_large = sum(array.nbytes for array in named.values()) > MOST_BYTES_IN_A_GRAPH
    weight_file = WeightFile(folder / "model.onnx_data") if is_large else None
    for name, cached in (("model", True), ("model_plain", False)):
        decoder = Decoder(GraphBuilder(weight_file), model.config, named, dtype == "float16", cached)
        decoder.build()
        decoder.graph.save(folder / f"{name}.onnx", name)


def _weights(model: TransformerLM, dtype: torch.dtype) -> dict[str, Array]:
    """By our names: matrices as (d_in, d_out), for products from the left; gains and RoPE's table in float32."""
    head_dim = model.config.d_model // model.config.num_heads
    found: dict[str, Array] = {}
    for name, tensor in model.state_dict().items():
        if is_rotated(name):  # so that halves can be rotated: their two parts lie together
            tensor = halves_first(tensor, head_dim)
        tensor = rounded(name, tensor, torch.float32 if tensor.ndim == 1 else dtype)
        found[name] = _contiguous(
            tensor if name.startswith("token_embeddings") or tensor.ndim == 1 else tensor.T
        )
    (rope, *_) = [part for part in model.modules() if isinstance(part, RotaryEmbedding)]
    table = rope.cos_sin.cpu()
    return found | {"cos": _contiguous(table[..., 0]), "sin": _contiguous(table[..., 1])}


def _contiguous(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.numpy())


@dataclass
class Decoder:
    """The model as a graph that is being built.

    Attributes:
        half: weights, what they are multiplied by, and caches in float16; all between the products in float32.
        cached: keys and values of earlier positions come in, and those of all positions go out.
    """

    graph: GraphBuilder
    config: ModelConfig
    weights: dict[str, Array]
    half: bool
    cached: bool

    def __post_init__(self) -> None:
        self.kind = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        self.num_kv_heads = self.config.num_kv_heads or self.config.num_heads
        self.head_dim = self.config.d_model // self.config.num_heads

    def build(self) -> None:
        """ids (B, T) -> logits (B, T, V), float32."""
        g = self.graph
        self._add_inputs()
        x_BTD = self._wide(g("Gather", self._weight("token_embeddings"), "input_ids"))
        for layer in range(self.config.num_layers):
            x_BTD = g("Add", x_BTD, self._attention(layer, self._norm(x_BTD, f"layers.{layer}.ln1")))
            x_BTD = g("Add", x_BTD, self._feed_forward(layer, self._norm(x_BTD, f"layers.{layer}.ln2")))
        if self.config.tie_embeddings:
            head = g("Transpose", self._weight("token_embeddings"), perm=[1, 0])
        else:
            head = self._weight("lm_head")
        hidden_BTD = self._narrow(self._norm(x_BTD, "ln_final"))
        g("Cast", g("MatMul", hidden_BTD, head), name="logits", to=TensorProto.FLOAT)
        g.output("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", self.config.vocab_size])

    def _add_inputs(self) -> None:
        """The graph's inputs, the angles of the positions, and who may look at whom."""
        g = self.graph
        ids = g.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
        length = g("Slice", g("Shape", ids), *g.slice_of(1, 2))
        zero, one = g.integers(0), g.integers(1)
        past, positions = zero, None
        if self.cached:
            mask_shape = ["batch_size", "total_sequence_length"]
            attention_mask = g.input("attention_mask", TensorProto.INT64, mask_shape)
            positions = g.input("position_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
            shape: list[int | str] = ["batch_size", self.num_kv_heads, "past_sequence_length", self.head_dim]
            for layer in range(self.config.num_layers):
                for what in ("key", "value"):
                    g.input(f"past_key_values.{layer}.{what}", self.kind, shape)
            past = g("Slice", g("Shape", "past_key_values.0.key"), *g.slice_of(2, 3))
        for angle in ("cos", "sin"):  # (B, T, 1, d/2)
            table = g.weight(angle, self.weights[angle])
            if positions is None:
                rows = g("Unsqueeze", g("Slice", table, zero, length, zero), zero)
            else:
                rows = g("Gather", table, positions)
            g("Unsqueeze", rows, g.integers(2), name=f"{angle}_of_positions")
        end = g("Add", past, length)
        scalars = [g("Squeeze", number, zero) for number in (zero, past, end, one)]
        queries = g("Unsqueeze", g("Range", scalars[1], scalars[2], scalars[3]), one)
        keys = g("Unsqueeze", g("Range", scalars[0], scalars[2], scalars[3]), zero)
        visible = g("LessOrEqual", keys, queries)  # (T, S)
        if self.cached:
            is_text = g("Unsqueeze", g("Cast", attention_mask, to=TensorProto.BOOL), g.integers(1, 2, 3))
            visible = g("And", visible, is_text)  # (B, 1, 1, T, S)
        self.visible = visible

    def _attention(self, layer: int, x_BTD: str) -> str:
        """Queries are put in order as (B, G, R, T, d), so that the heads of a group meet its keys without a copy."""
        g, name = self.graph, f"layers.{layer}.attn"
        q_BTHd, k_BTGd, v_BTGd = (self._heads(x_BTD, f"{name}.{part}_proj") for part in "qkv")
        if self.config.qk_norm:
            q_BTHd, k_BTGd = self._norm(q_BTHd, f"{name}.q_norm"), self._norm(k_BTGd, f"{name}.k_norm")
        q_BTHd, k_BTGd, v_BTGd = map(self._narrow, (self._rotated(q_BTHd), self._rotated(k_BTGd), v_BTGd))
        shared = self.config.num_heads // self.num_kv_heads
        q_BTGRd = g("Reshape", q_BTHd, g.integers(0, 0, self.num_kv_heads, shared, self.head_dim))
        q_BGRTd = g("Transpose", q_BTGRd, perm=[0, 2, 3, 1, 4])
        k_BGSd, v_BGSd = (g("Transpose", x, perm=[0, 2, 1, 3]) for x in (k_BTGd, v_BTGd))
        if self.cached:
            k_BGSd = self._with_past(f"{layer}.key", k_BGSd)
            v_BGSd = self._with_past(f"{layer}.value", v_BGSd)
        k_BGdS = g("Transpose", k_BGSd, perm=[0, 1, 3, 2])
        scores = g("MatMul", q_BGRTd, g("Unsqueeze", k_BGdS, g.integers(2)))
        scores = g("Mul", self._wide(scores), g.number(1 / math.sqrt(self.head_dim)))
        weights = g("Softmax", g("Where", self.visible, scores, g.number(LOWEST)), axis=-1)
        out_BGRTd = g("MatMul", self._narrow(weights), g("Unsqueeze", v_BGSd, g.integers(2)))
        out_BTGRd = g("Transpose", out_BGRTd, perm=[0, 3, 1, 2, 4])
        out_BTD = g("Reshape", out_BTGRd, g.integers(0, 0, self.config.num_heads * self.head_dim))
        return self._linear(self._wide(out_BTD), f"{name}.output_proj")

    def _heads(self, x_BTD: str, name: str) -> str:
        """(B, T, D) -> (B, T, H or G, d)."""
        return self.graph("Reshape", self._linear(x_BTD, name), self.graph.integers(0, 0, -1, self.head_dim))

    def _rotated(self, x_BTHd: str) -> str:
        """RoPE: each feature of the first half and its fellow in the second, rotated by their angle."""
        g, half = self.graph, self.head_dim // 2
        first, second = (g("Slice", x_BTHd, *g.slice_of(start, start + half, axis=3)) for start in (0, half))
        cos, sin = "cos_of_positions", "sin_of_positions"
        rotated_first = g("Sub", g("Mul", first, cos), g("Mul", second, sin))
        rotated_second = g("Add", g("Mul", first, sin), g("Mul", second, cos))
        return g("Concat", rotated_first, rotated_second, axis=3)

    def _with_past(self, name: str, new_BGTd: str) -> str:
        """All keys or values so far (B, G, S, d), which are also put out."""
        present = f"present.{name}"
        self.graph("Concat", f"past_key_values.{name}", new_BGTd, name=present, axis=2)
        shape: list[int | str] = ["batch_size", self.num_kv_heads, "total_sequence_length", self.head_dim]
        self.graph.output(present, self.kind, shape)
        return present

    def _feed_forward(self, layer: int, x_BTD: str) -> str:
        g, name = self.graph, f"layers.{layer}.ffn"
        activated = self._activated(self._linear(x_BTD, f"{name}.w1"))
        if f"{name}.w3.weight" in self.weights:
            activated = g("Mul", activated, self._linear(x_BTD, f"{name}.w3"))
        return self._linear(activated, f"{name}.w2")

    def _activated(self, x: str) -> str:
        """The formulas of `core.activations`."""
        g = self.graph
        match self.config.activation:
            case "swiglu":
                return g("Mul", x, g("Sigmoid", x))
            case "geglu" | "gelu":
                erf = g("Erf", g("Div", x, g.number(math.sqrt(2.0))))
                return g("Mul", g("Mul", x, g.number(0.5)), g("Add", erf, g.number(1.0)))
            case "relu2":
                positive = g("Relu", x)
                return g("Mul", positive, positive)
            case _:
                return g("Relu", x)

    def _norm(self, x: str, name: str) -> str:
        """g · x / sqrt(mean(x²) + eps), over the last dimension."""
        g = self.graph
        mean = g("ReduceMean", g("Pow", x, g.number(2.0)), axes=[-1], keepdims=1)
        rms = g("Sqrt", g("Add", mean, g.number(self.config.norm_eps)))
        return g("Mul", g("Div", x, rms), self._weight(name))

    def _linear(self, x: str, name: str) -> str:
        return self._wide(self.graph("MatMul", self._narrow(x), self._weight(name)))

    def _weight(self, name: str) -> str:
        return self.graph.weight(f"{name}.weight", self.weights[f"{name}.weight"])

    def _wide(self, x: str) -> str:
        return self.graph("Cast", x, to=TensorProto.FLOAT) if self.half else x

    def _narrow(self, x: str) -> str:
        return self.graph("Cast", x, to=TensorProto.FLOAT16) if self.half else x
