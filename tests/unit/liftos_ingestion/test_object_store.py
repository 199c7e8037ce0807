"""Files in an object store: real clients of S3 and GCS against servers that speak like them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import pytest
from tests.unit.liftos_ingestion.own_source_parts import ACCOUNTS, OpenGate, asked, pages, rows_of

from liftos_ingestion.adapters.sources.own_sources import OwnSources
from liftos_ingestion.catalog_ports import NewSource, SourceKind
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.source_ports import PlatformSource
from liftos_ingestion.testing.fake_platform import FakeAnswer, FakePlatform, FakeRequest

OBJECTS = {
    "orders/2026-11-01/a.csv": b"n\n1\n2\n",
    "orders/2026-11-02/b.csv": b"n\n3\n",
    "orders/2026-11-03/c.csv": b"n\n4\n",
    "other/x.csv": b"n\n9\n",
}
_TIME = datetime(2026, 11, 3, 12, tzinfo=UTC)
_KEY = "AKIATESTTESTTEST"


class S3Store:
    """A bucket `exports` with some objects, as S3 has it."""

    def __init__(self) -> None:
        self.objects = dict(OBJECTS)
        self.authorizations: list[str] = []
        self.refusal: FakeAnswer | None = None

    def answer(self, request: FakeRequest) -> object:
        """Answer as S3 does."""
        self.authorizations.append(request.headers.get("authorization", ""))
        if self.refusal is not None:
            return self.refusal
        key = request.path.removeprefix("/exports").lstrip("/")
        if not key:
            return FakeAnswer(200, self._listing(request.query), {"Content-Type": "text/xml"})
        content = self.objects.get(key)
        if content is None:
            return FakeAnswer(404, b"")
        headers = {"Last-Modified": f"{_TIME:%a, %d %b %Y %H:%M:%S} GMT", "ETag": '"1"'}
        span = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", request.headers.get("range", ""))
        if span is None:
            return FakeAnswer(200, content, headers)
        first, last = int(span[1]), min(int(span[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return FakeAnswer(206, content[first : last + 1], headers)

    def _listing(self, query: Mapping[str, str]) -> bytes:
        prefix = query.get("prefix", "")
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
            f"<LastModified>{_TIME:%Y-%m-%dT%H:%M:%S}.000Z</LastModified><ETag>1</ETag></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>exports</Name><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ).encode()


@contextmanager
def store() -> Iterator[tuple[S3Store, PlatformSource]]:
    """A store, and a source of its files."""
    objects = S3Store()
    with FakePlatform(objects.answer) as platform:
        yield objects, source_of({"kind": "s3", "bucket": "exports", "endpoint": platform.url})


def source_of(place: dict[str, str]) -> PlatformSource:
    """A source of the orders of a place."""
    files = [{"level": "OUTCOME", "pattern": "orders/{date}/*.csv", "format": "csv"}]
    definition: dict[str, Any] = {"place": place, "files": files, "accounts": ACCOUNTS}
    mapping = {"date_basis": "EVENT", "columns": {"orders": "n"}}
    spec = NewSource("till", "Till", SourceKind.FILES, definition, mapping)
    return OwnSources(None, private_allowed=True, timeout_seconds=5).build(spec)


async def test_objects_are_read_by_their_paths() -> None:
    """Only objects of the days are read, with the connection's credential."""
    with store() as (objects, source):
        credential = {"access_key_id": _KEY, "secret_access_key": "secret-of-the-test"}
        found = await pages(source, asked(), OpenGate(), **credential)
        assert [it["n"] for it in rows_of(found)] == ["1", "2", "3"]
    assert all(f"Credential={_KEY}/" in it for it in objects.authorizations)


async def test_without_a_credential_it_is_anonymous(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own credentials are never used for an org's bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEWORKER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-worker")
    with store() as (objects, source):
        assert len(rows_of(await pages(source, asked()))) == 3
    assert set(objects.authorizations) == {""}


@pytest.mark.parametrize(
    ("code", "status", "error_class"),
    [
        ("AccessDenied", 403, ErrorClass.PERMISSION),
        ("InvalidAccessKeyId", 403, ErrorClass.CREDENTIALS),
        ("SignatureDoesNotMatch", 403, ErrorClass.CREDENTIALS),
        ("NoSuchBucket", 404, ErrorClass.TRANSIENT),
    ],
)
async def test_refusals_have_a_class(code: str, status: int, error_class: ErrorClass) -> None:
    """What a store says of the credential decides, and its words are not repeated."""
    with store() as (objects, source):
        body = f"<Error><Code>{code}</Code><Message>told of {_KEY}</Message></Error>".encode()
        objects.refusal = FakeAnswer(status, body, {"Content-Type": "application/xml"})
        credential = {"access_key_id": _KEY, "secret_access_key": "secret-of-the-test"}
        with pytest.raises(ReadingError) as caught:
            await pages(source, asked(), OpenGate(), **credential)
    assert caught.value.failure.error_class is error_class
    assert _KEY not in str(caught.value)


@pytest.mark.parametrize("credential", [{}, {"access_token": "token-of-the-test"}])
async def test_objects_of_gcs_are_read_by_their_paths(credential: dict[str, str]) -> None:
    """The other store's protocol, anonymously or with a token."""
    authorizations: set[str] = set()

    def answer(request: FakeRequest) -> object:
        authorizations.add(request.headers.get("authorization", ""))
        key = unquote(request.path.removeprefix("/storage/v1/b/exports/o").lstrip("/"))
        if key:
            return FakeAnswer(200, OBJECTS[key])
        items = [
            {
                "name": name,
                "bucket": "exports",
                "size": str(len(content)),
                "updated": f"{_TIME:%FT%TZ}",
            }
            for name, content in OBJECTS.items()
            if name.startswith(request.query["prefix"])
        ]
        return {"kind": "storage#objects", "items": items}

    with FakePlatform(answer) as platform:
        source = source_of({"kind": "gcs", "bucket": "exports", "endpoint": platform.url})
        found = await pages(source, asked(), OpenGate(), **credential)
    assert [it["n"] for it in rows_of(found)] == ["1", "2", "3"]
    token = credential.get("access_token")
    assert authorizations == {f"Bearer {token}" if token else ""}
