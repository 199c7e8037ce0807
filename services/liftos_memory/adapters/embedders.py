"""Which embedder a setting means."""

from typing import Final
from urllib.parse import urldefrag

from liftos_memory.adapters.hashing_embedder import HashingEmbedder
from liftos_memory.adapters.http_embedder import HttpEmbedder
from liftos_memory.adapters.onnx_embedder import OnnxEmbedder
from liftos_memory.search_ports import Embedder

ONNX_MINILM: Final = "onnx:all-MiniLM-L6-v2"
HASHING: Final = "hash:"


class UnknownEmbedderError(Exception):
    """A setting that means no embedder."""

    def __init__(self, setting: str) -> None:
        super().__init__(
            f"LIFTOS_EMBEDDER is {setting!r}; set {ONNX_MINILM}, {HASHING} or"
            " http://host/v1#model@dimension"
        )


def open_embedder(setting: str, *, threads: int, api_key: str = "") -> Embedder:
    """Return the embedder of a setting.

    Args:
        setting: `onnx:all-MiniLM-L6-v2`; `hash:`, which knows words and no meaning; or the URL of
            an OpenAI-compatible server with the model's name and dimension as fragment.
        threads: Threads to compute with.
        api_key: For the server behind a URL.

    Raises:
        UnknownEmbedderError: The setting means none.
    """
    if setting == ONNX_MINILM:
        return OnnxEmbedder(threads=threads)
    if setting == HASHING:
        return HashingEmbedder()
    url, fragment = urldefrag(setting)
    model, _, dimension = fragment.rpartition("@")
    if url.startswith(("http://", "https://")) and model and dimension.isdecimal():
        return HttpEmbedder(url, model=model, dimension=int(dimension), api_key=api_key)
    raise UnknownEmbedderError(setting)
