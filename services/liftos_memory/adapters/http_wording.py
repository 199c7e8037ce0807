"""Words for insights from a server with OpenAI's `POST …/chat/completions`."""

from typing import Final

import httpx
import structlog

from liftos_memory.settings import MemorySettings

_TIMEOUT_SECONDS: Final = 20.0
_LONGEST_CHARACTERS: Final = 2_000
_INSTRUCTION: Final = (
    "Say the sentences about marketing data that follow in plain, friendly words, in one paragraph"
    " of at most 60 words. Keep every number, date, unit and name exactly as written. Add no number"
    " and no advice."
)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.insights")


class HttpWording:
    """See `liftos_memory.insight_ports.Wording`. Whatever goes wrong, there are no other words.

    Args:
        base_url: Address below which `/chat/completions` lies, such as `http://host:8080/v1`.
        model: The model's name at the server.
        api_key: Sent as a bearer token unless empty; never shown.
    """

    def __init__(self, base_url: str, *, model: str, api_key: str = "") -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT_SECONDS)

    async def word(self, template: str) -> str | None:
        """Return other words for a sentence."""
        body = {
            "model": self._model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": _INSTRUCTION},
                {"role": "user", "content": template},
            ],
        }
        try:
            response = await self._client.post(self._url, json=body)
            response.raise_for_status()
            content = response.json()["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            _log.warning("insight_not_worded", error=type(error).__name__)
            return None
        return content if isinstance(content, str) and len(content) <= _LONGEST_CHARACTERS else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def open_wording(settings: MemorySettings) -> HttpWording | None:
    """Return the model that the settings name; None where they name none."""
    if not settings.insight_wording_url:
        return None
    key = settings.insight_wording_api_key
    return HttpWording(
        settings.insight_wording_url,
        model=settings.insight_wording_model,
        api_key="" if key is None else key.get_secret_value(),
    )
