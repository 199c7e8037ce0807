"""An embedder behind HTTP: any server with OpenAI's `POST …/embeddings`."""

import hashlib
from collections.abc import Sequence
from typing import Final, TypedDict

import httpx
import numpy as np

from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.retry import Backoff, retry
from liftos_memory.adapters.unit_vectors import unit_rows
from liftos_memory.search_ports import EmbeddingError, Vectors

BATCH_TEXTS: Final = 64
_STORE: Final = "embedder"
_PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN_CHARACTERS: Final = 200


class _Item(TypedDict):
    index: int
    embedding: list[float]


class _Answer(TypedDict):
    """What a server should answer; `_vectors` finds out whether it did."""

    data: list[_Item]


class HttpEmbedder:
    """Embedder that asks a server.

    Tries again with growing waits on refused connections, timeouts and passing statuses, within
    the deadline of a batch; `Retry-After` in seconds is kept.

    Args:
        base_url: Address below which `/embeddings` lies, such as `http://host:8080/v1`.
        model: The model's name at the server.
        dimension: Length of its vectors.
        api_key: Sent as a bearer token unless empty; never shown.
        deadline_seconds: How long a batch of at most 64 texts may take, all tries together.
        backoff: Waits between tries.
        clock: Time; the system's if absent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        dimension: int,
        api_key: str = "",
        deadline_seconds: float = 30.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model
        self._dimension = dimension
        self._deadline_seconds = deadline_seconds
        self._backoff = backoff or Backoff(base_seconds=0.2, maximum_seconds=5.0, maximum_tries=5)
        self._clock = clock
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=deadline_seconds)
        # The server does not tell which file it computes with: another address is another model.
        source = hashlib.sha256(f"{self._url}\n{model}\n{dimension}".encode()).hexdigest()
        self._model_id = f"{model}@{source[:12]}"

    @property
    def model_id(self) -> str:
        """Name of the model and a hash of where it is served."""
        return self._model_id

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text."""
        batches = [
            await self._embed(texts[start : start + BATCH_TEXTS])
            for start in range(0, len(texts), BATCH_TEXTS)
        ]
        empty = np.empty((0, self._dimension), dtype=np.float32)
        return np.concatenate([empty, *batches])

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query."""
        vectors = await self._embed([text])
        return np.asarray(vectors[0])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        answer = await retry(
            lambda: self._ask(texts),
            should_retry=lambda error: isinstance(error, StoreUnavailableError),
            backoff=self._backoff,
            deadline_seconds=self._deadline_seconds,
            clock=self._clock,
        )
        return unit_rows(
            _vectors(answer, texts=len(texts)), texts=len(texts), dimension=self._dimension
        )

    async def _ask(self, texts: Sequence[str]) -> _Answer:
        # Servers refuse the empty text, which still needs a vector.
        body = {"model": self._model, "input": [text or " " for text in texts]}
        try:
            response = await self._client.post(self._url, json=body)
        except httpx.TransportError as error:
            raise StoreUnavailableError(_STORE, retry_after_seconds=0.0) from error
        if response.status_code in _PASSING_STATUSES:
            wait = response.headers.get("Retry-After", "")
            raise StoreUnavailableError(
                _STORE, retry_after_seconds=float(wait) if wait.isdecimal() else 0.0
            )
        if response.status_code != httpx.codes.OK:
            raise EmbeddingError(
                f"the embedder answered {response.status_code}:"
                f" {response.text[:_SHOWN_CHARACTERS]!r}; check its address, key and model"
            )
        try:
            answer: _Answer = response.json()
        except ValueError as error:
            raise EmbeddingError("the embedder answered with something that is no JSON") from error
        return answer


def _vectors(answer: _Answer, *, texts: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return the vectors of an answer in the order of the texts; servers may send any order."""
    try:
        by_index = {int(item["index"]): item["embedding"] for item in answer["data"]}
        rows = [by_index[index] for index in range(texts)]
        return np.array(rows, dtype=np.float32).reshape(texts, -1)
    except (KeyError, TypeError, ValueError) as error:
        raise EmbeddingError(
            f"the embedder's answer does not hold one embedding for each of {texts} texts"
        ) from error
