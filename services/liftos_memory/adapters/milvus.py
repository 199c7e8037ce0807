"""Documents in Milvus: dense vectors by cosine, terms by BM25, filters before both.

One collection serves, behind the alias `documents`. Its name holds the form of its fields, model,
dimension and generation, so that vectors of two models never meet; a rebuild fills the next
generation and moves the alias.

The same code runs on Milvus Lite and on a cluster, and therefore keeps to what both take: filters
are text (Lite has no templates) written in `_expression` alone, BM25 scores lose their sign (Lite
gives distances), and terms come analysed (Lite ignores stemmers in silence).
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from pymilvus import (
    AsyncMilvusClient,
    CollectionSchema,
    DataType,
    Function,
    FunctionType,
    MilvusException,
)

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.filters import milvus_literal, to_milvus
from liftos_kit.telemetry import milvus_span
from liftos_memory.domain.documents import Document, DocumentKind
from liftos_memory.domain.lexical import lexical_text
from liftos_memory.search_ports import (
    IndexedDocument,
    IndexOfAnotherModelError,
    LegHit,
    SearchScope,
    Vectors,
)

T = TypeVar("T")

ALIAS: Final = "documents"
BATCH_DOCUMENTS: Final = 500
MAXIMUM_HITS: Final = 16_384
"""Most rows that Milvus gives in one answer."""
BM25_K1: Final = 1.2
BM25_B: Final = 0.75

_STORE: Final = "milvus"
_FORM: Final = "f2"
"""Changes with the fields of the collection: one of another form is rebuilt."""
_ID_BUCKETS: Final = 65_536
_NO_QUALITY: Final = -1.0
_MAXIMUM_TEXT_BYTES: Final = 65_535
_EPOCH: Final = date(1970, 1, 1)
_ID_FIELDS: Final = (
    "account_id",
    "campaign_id",
    "ad_group_id",
    "ad_id",
    "flow_id",
    "message_id",
    "series_id",
)
_FILTER_FIELDS: Final = {name: name for name in ("platform", "level", "scope", *_ID_FIELDS)}
_READ_FIELDS: Final = (
    *("document_id", "content_hash", "kind", "platform", "level", "account_id", "campaign_id"),
    *("start_day", "end_day", "title", "text", "quality", "scope"),
)

_CHANNEL_OPTIONS: Final = {
    # gRPC's own waits grow to two minutes, and channels of one address share them.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.use_local_subchannel_pool": 1,
    # Servers by default close a channel that pings more often than every five minutes; each call
    # has its own deadline.
    "grpc.keepalive_time_ms": 330_000,
    "grpc.keepalive_permit_without_calls": 0,
}
_RATE_LIMITED: Final = 8
_CONNECT_FAILED: Final = 2
_COLLECTION_NOT_FOUND: Final = 100
_COLLECTION_NOT_LOADED: Final = 101
_ALIAS_NOT_FOUND: Final = 1_600
_PASSING: Final = frozenset(
    {_CONNECT_FAILED, _COLLECTION_NOT_FOUND, _ALIAS_NOT_FOUND, _RATE_LIMITED}
)
_OUTAGES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)


class MilvusDocumentIndex:
    """DocumentIndex over a Milvus server.

    Connects on first use, and again within a second or two after the server was away. Use it on
    one event loop only.

    Args:
        url: `http://host:port` of the server.
        model_id: The embedder's.
        dimension: The embedder's.
        token: `user:password` or an API key; empty where the server asks for none.
        read_deadline_seconds: How long a search or look-up may take.
        write_deadline_seconds: How long a write, a load or a change of schema may take.
    """

    def __init__(
        self,
        url: str,
        *,
        model_id: str,
        dimension: int,
        token: str = "",
        read_deadline_seconds: float = 5.0,
        write_deadline_seconds: float = 60.0,
    ) -> None:
        self._dimension = dimension
        self._base_name = f"documents_{_FORM}_{_slug(model_id)}_{dimension}"
        self._own_collection: str | None = None
        self._read_deadline_seconds = read_deadline_seconds
        self._write_deadline_seconds = write_deadline_seconds
        # The library prints every failed try with its stack, beside the exception that it raises.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        # A shared connection would be closed under us by whoever else uses the same address.
        self._client = AsyncMilvusClient(
            uri=url,
            token=token,
            timeout=read_deadline_seconds,
            dedicated=True,
            grpc_options=_CHANNEL_OPTIONS,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def ping(self) -> None:
        """Return if the server answers; for health checks.

        Raises:
            StoreUnavailableError: It does not.
        """
        await self._read(self._client.get_server_version, timeout=self._beyond)

    async def ensure(self) -> None:
        """Create what is missing and load it."""
        serving = await self._serving()
        if serving is None:
            name = self._generation_name(1)
            # A collection without the alias is an attempt that was cut short.
            await self._create(name)
            await self._write(self._client.create_alias, name, ALIAS)
        elif self._generation_of(serving) is None:
            raise IndexOfAnotherModelError(serving=serving, expected=self._base_name)
        else:
            await self._drop_leftovers(serving)
        await self._write(self._client.load_collection, ALIAS)

    async def confirm(self) -> None:
        """Return if the alias leads to a collection."""
        await self._read(self._client.describe_alias, ALIAS)

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add or replace documents of an org."""
        await self._upsert(ALIAS, org, documents, vectors)

    async def settle(self) -> None:
        """Seal what was written, so that searches use indexes instead of scanning."""
        await self._settle(ALIAS)

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org."""
        await self._delete(ALIAS, org, document_ids)

    async def _delete(self, collection: str, org: str, document_ids: Collection[str]) -> None:
        for batch in _batches(sorted(document_ids)):
            keys = [_primary_key(org, document_id) for document_id in batch]
            expression = f"{_equals('org', org)} and {_one_of('pk', keys)}"
            await self._write(self._client.delete, collection, filter=expression)

    async def search_dense(self, scope: SearchScope, vector: Vectors, limit: int) -> list[LegHit]:
        """Return the documents in scope nearest to a vector, scored by cosine."""
        if vector.shape != (self._dimension,):
            raise ValueError(f"the vector has shape {vector.shape}, not ({self._dimension},)")
        search = partial(
            self._search,
            scope,
            vector.tolist(),
            limit,
            field="dense",
            metric="COSINE",
        )
        if self._own_collection is not None:
            try:
                return await search(collection=self._own_collection)
            except StoreUnavailableError as error:
                if not _is_gone(error.__cause__):
                    raise
        self._own_collection = await self._find_own_collection()
        return await search(collection=self._own_collection)

    async def search_lexical(self, scope: SearchScope, text: str, limit: int) -> list[LegHit]:
        """Return the documents in scope that share terms with a text, scored by BM25."""
        terms = lexical_text(text)
        if not terms:
            return []
        try:
            hits = await self._search(scope, terms, limit, field="sparse", metric="BM25")
        except MilvusException:
            # One of an earlier form does not know every field; it serves until it is rebuilt.
            await self._find_own_collection()
            raise
        return [LegHit(hit.document_id, abs(hit.raw_score)) for hit in hits if hit.raw_score]

    async def fetch(self, org: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Return the documents of an org that are there, by id."""
        found: dict[str, IndexedDocument] = {}
        for batch in _batches(sorted(document_ids)):
            keys = [_primary_key(org, document_id) for document_id in batch]
            rows = await self._query(f"{_equals('org', org)} and {_one_of('pk', keys)}")
            found |= {row["document_id"]: _indexed(row) for row in rows}
        return found

    async def count(self, org: str) -> int:
        """Return how many documents an org has."""
        rows = await self._query(_equals("org", org), fields=("count(*)",), limit=None)
        return int(rows[0]["count(*)"])

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return the content hash of every document of an org by id."""
        return await self._list_ids(ALIAS, org)

    async def _list_ids(self, collection: str, org: str) -> dict[str, str]:
        found: dict[str, str] = {}
        ranges = [(0, _ID_BUCKETS)]
        while ranges:
            low, high = ranges.pop()
            rows = await self._query(
                f"{_equals('org', org)} and id_bucket >= {low} and id_bucket < {high}",
                fields=("document_id", "content_hash"),
                collection=collection,
            )
            # Milvus promises no order to page by, so an answer that may be cut is asked in halves.
            if len(rows) >= MAXIMUM_HITS and high - low > 1:
                middle = (low + high) // 2
                ranges += [(low, middle), (middle, high)]
            else:
                found |= {row["document_id"]: row["content_hash"] for row in rows}
        return found

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator["MilvusRebuild"]:
        """Open a second index beside the one that serves, with what an earlier try left in it."""
        serving = await self._serving()
        generation = self._generation_of(serving) if serving else None
        name = self._generation_name((generation or 0) + 1)
        if await self._is_whole(name):
            await self._write(self._client.load_collection, name)
        else:
            await self._create(name)
        yield MilvusRebuild(self, name=name, serving=serving)

    async def _find_own_collection(self) -> str:
        """Return the collection that serves, whose vectors are of the present model.

        Dense searches name it instead of the alias: a vector means nothing among another model's,
        and the alias moves while servers still have the model of before.
        """
        answer = await self._read(self._client.describe_alias, ALIAS)
        name = str(answer["collection_name"])
        if self._generation_of(name) is None:
            raise StoreUnavailableError(_STORE) from IndexOfAnotherModelError(
                serving=name, expected=self._base_name
            )
        return name

    async def _serving(self) -> str | None:
        """Return the name of the collection behind the alias, or None."""
        names = await self._write(self._client.list_collections)
        for name in names:
            if ALIAS in await self._write(self._client.list_aliases, name):
                return str(name)
        return None

    def _generation_name(self, generation: int) -> str:
        return f"{self._base_name}_g{generation}"

    def _generation_of(self, name: str) -> int | None:
        found = re.fullmatch(rf"{re.escape(self._base_name)}_g([0-9]+)", name)
        return int(found[1]) if found else None

    async def _is_whole(self, name: str) -> bool:
        """Tell whether there is a collection of this name with all of its indexes."""
        if not await self._write(self._client.has_collection, name):
            return False
        indexes = await self._write(self._client.list_indexes, name)
        return {"dense", "sparse"} <= set(indexes)

    async def _drop_leftovers(self, serving: str) -> None:
        """Drop collections of documents that do not serve: rebuilds that were given up."""
        for name in await self._write(self._client.list_collections):
            if name != serving and re.fullmatch(r"documents_[a-z0-9_]+_g[0-9]+", name):
                await self._write(self._client.drop_collection, name)

    async def _create(self, name: str) -> None:
        """Make an empty collection of this name with its indexes; one of that name goes first."""
        if await self._write(self._client.has_collection, name):
            await self._write(self._client.drop_collection, name)
        schema = _schema(self._dimension)
        await self._write(
            self._client.create_collection, name, schema=schema, consistency_level="Strong"
        )
        for index in (
            {
                "field_name": "dense",
                # Exact: a graph loses documents where filters meet many equal vectors.
                "index_type": "FLAT",
                "metric_type": "COSINE",
                "params": {},
            },
            {
                "field_name": "sparse",
                "index_type": "SPARSE_INVERTED_INDEX",
                "metric_type": "BM25",
                "params": {"bm25_k1": BM25_K1, "bm25_b": BM25_B},
            },
        ):
            await self._write(self._create_index, name, index)
        await self._write(self._client.load_collection, name)

    async def _create_index(self, name: str, index: dict[str, Any]) -> None:
        parameters = self._client.prepare_index_params()
        parameters.add_index(**index)
        try:
            await self._client.create_index(name, parameters, timeout=self._beyond)
        except grpc.RpcError as error:
            # Lite creates the index, but has no clock for the client to wait by.
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise

    async def _upsert(
        self, name: str, org: str, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        if vectors.shape != (len(documents), self._dimension):
            raise ValueError(
                f"{len(documents)} documents need vectors of shape"
                f" ({len(documents)}, {self._dimension}), not {vectors.shape}"
            )
        if len({document.document_id for document in documents}) != len(documents):
            raise ValueError("a document stands twice in one batch")
        rows = [
            _row(org, document, vector) for document, vector in zip(documents, vectors, strict=True)
        ]
        for batch in _batches(rows):
            await self._write(self._client.upsert, name, batch, timeout=self._beyond)

    async def _settle(self, name: str) -> None:
        try:
            await self._write(
                self._client.flush, name, timeout=self._beyond, retry_on_rate_limit=False
            )
        except MilvusException as error:
            # Clusters seal by themselves and refuse to be asked often; that is well.
            if error.code != _RATE_LIMITED:
                raise

    async def _switch(self, name: str, serving: str | None) -> None:
        await self._settle(name)
        await self._write(self._client.load_collection, name)
        if serving is None:
            await self._write(self._client.create_alias, name, ALIAS)
            return
        await self._write(self._client.alter_alias, name, ALIAS)
        await self._write(self._client.drop_collection, serving)

    async def _search(
        self,
        scope: SearchScope,
        query: list[float] | str,
        limit: int,
        *,
        field: str,
        metric: str,
        collection: str = ALIAS,
    ) -> list[LegHit]:
        if not 1 <= limit <= MAXIMUM_HITS:
            raise ValueError(f"limit is between 1 and {MAXIMUM_HITS}, not {limit}")
        answer = await self._read(
            self._client.search,
            collection,
            data=[query],
            anns_field=field,
            filter=_expression(scope),
            limit=limit,
            output_fields=["document_id"],
            search_params={"metric_type": metric, "params": {}},
            timeout=self._beyond,
        )
        return [
            LegHit(str(hit["entity"]["document_id"]), float(hit["distance"])) for hit in answer[0]
        ]

    async def _query(
        self,
        expression: str,
        *,
        fields: Sequence[str] = _READ_FIELDS,
        limit: int | None = MAXIMUM_HITS,
        collection: str = ALIAS,
    ) -> Sequence[dict[str, Any]]:
        bound = {} if limit is None else {"limit": limit}
        rows: Sequence[dict[str, Any]] = await self._read(
            self._client.query,
            collection,
            filter=expression,
            output_fields=list(fields),
            timeout=self._beyond,
            **bound,
        )
        return rows

    @property
    def _beyond(self) -> float:
        """A time-out for the client library that ours always comes before."""
        return self._write_deadline_seconds + 10.0

    async def _read(
        self, call: Callable[..., Awaitable[T]], *arguments: object, **options: object
    ) -> T:
        with milvus_span(_operation(call), ALIAS):
            return await self._within(
                self._read_deadline_seconds, partial(call, *arguments, **options)
            )

    async def _write(
        self, call: Callable[..., Awaitable[T]], *arguments: object, **options: object
    ) -> T:
        with milvus_span(_operation(call), ALIAS):
            return await self._within(
                self._write_deadline_seconds, partial(call, *arguments, **options)
            )

    async def _within(self, deadline_seconds: float, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call to Milvus; every one goes through here.

        Raises:
            StoreUnavailableError: The server is away, too slow, or has no index yet.
        """
        try:
            async with asyncio.timeout(deadline_seconds):
                try:
                    return await call()
                except MilvusException as error:
                    if error.code != _COLLECTION_NOT_LOADED:
                        raise
                # A server that was restarted has everything and has loaded nothing.
                await self._client.load_collection(ALIAS)
                return await call()
        except TimeoutError as error:
            raise StoreUnavailableError(_STORE, waited_seconds=deadline_seconds) from error
        except (grpc.RpcError, MilvusException) as error:
            if _is_outage(error):
                raise StoreUnavailableError(_STORE) from error
            raise


class MilvusRebuild:
    """The next generation of the index, not serving yet; made by `MilvusDocumentIndex.rebuild`."""

    def __init__(self, index: MilvusDocumentIndex, *, name: str, serving: str | None) -> None:
        self._index = index
        self._name = name
        self._serving = serving

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return the content hash of every document of an org by id."""
        return await self._index._list_ids(self._name, org)

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org."""
        await self._index._delete(self._name, org, document_ids)

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add documents."""
        await self._index._upsert(self._name, org, documents, vectors)

    async def switch(self) -> None:
        """Move the alias here and drop the generation that served."""
        await self._index._switch(self._name, self._serving)


def _is_gone(error: BaseException | None) -> bool:
    return isinstance(error, MilvusException) and error.code == _COLLECTION_NOT_FOUND


def _is_outage(error: Exception) -> bool:
    match error:
        case grpc.RpcError():
            return error.code() in _OUTAGES
        case MilvusException():
            return error.code in _PASSING or error.code in _OUTAGES
        case _:
            return False


def _operation(call: Callable[..., object]) -> str:
    """Return what a call does, as traces and metrics name it: the method's own name."""
    return str(getattr(call, "__name__", "call")).lstrip("_")


def _slug(model_id: str) -> str:
    """Return a model's id as Milvus takes it in names: letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", model_id.lower()).strip("_")


def _schema(dimension: int) -> CollectionSchema:
    schema = AsyncMilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("org", DataType.VARCHAR, max_length=64, is_partition_key=True)
    schema.add_field("document_id", DataType.VARCHAR, max_length=256)
    schema.add_field("id_bucket", DataType.INT64)
    schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
    schema.add_field("kind", DataType.VARCHAR, max_length=32)
    schema.add_field("platform", DataType.VARCHAR, max_length=256)
    schema.add_field("scope", DataType.VARCHAR, max_length=64)
    schema.add_field("level", DataType.VARCHAR, max_length=32)
    for name in _ID_FIELDS:
        schema.add_field(name, DataType.VARCHAR, max_length=1024)
    schema.add_field("start_day", DataType.INT64)
    schema.add_field("end_day", DataType.INT64)
    schema.add_field("quality", DataType.DOUBLE)
    schema.add_field("title", DataType.VARCHAR, max_length=_MAXIMUM_TEXT_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=_MAXIMUM_TEXT_BYTES)
    schema.add_field(
        "lexical_text",
        DataType.VARCHAR,
        max_length=_MAXIMUM_TEXT_BYTES,
        enable_analyzer=True,
        analyzer_params={"type": "standard"},
    )
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=["lexical_text"],
            output_field_names=["sparse"],
        )
    )
    return schema


def _row(org: str, document: Document, vector: Vectors) -> dict[str, Any]:
    for text in (document.title, document.text, document.lexical_text):
        if len(text.encode()) > _MAXIMUM_TEXT_BYTES:
            raise ValueError(
                f"document {document.document_id} has a text of more than"
                f" {_MAXIMUM_TEXT_BYTES} bytes"
            )
    key = document.key
    return {
        "pk": _primary_key(org, document.document_id),
        "org": org,
        "document_id": document.document_id,
        "id_bucket": _id_bucket(document.document_id),
        "content_hash": document.content_hash,
        "kind": document.kind.value,
        "platform": key.platform if key else "",
        "scope": document.scope,
        "level": key.level if key else "",
        **{name: getattr(key, name) if key else "" for name in _ID_FIELDS},
        "start_day": _days(document.start_date),
        "end_day": _days(document.end_date),
        "quality": _NO_QUALITY if document.quality_score is None else document.quality_score,
        "title": document.title,
        "text": document.text,
        "lexical_text": document.lexical_text,
        "dense": np.asarray(vector, dtype=np.float32),
    }


def _indexed(row: dict[str, Any]) -> IndexedDocument:
    return IndexedDocument(
        document_id=row["document_id"],
        content_hash=row["content_hash"],
        kind=DocumentKind(row["kind"]),
        platform=row["platform"],
        level=row["level"],
        account_id=row["account_id"],
        campaign_id=row["campaign_id"],
        start_date=_EPOCH + timedelta(days=row["start_day"]),
        end_date=_EPOCH + timedelta(days=row["end_day"]),
        title=row["title"],
        text=row["text"],
        quality_score=None if row["quality"] == _NO_QUALITY else row["quality"],
        scope=row["scope"],
    )


def _primary_key(org: str, document_id: str) -> str:
    # An org holds no slash, so that no other org and document share this key.
    return f"{org}/{document_id}"


def _id_bucket(document_id: str) -> int:
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _ID_BUCKETS


def _days(day: date) -> int:
    return (day - _EPOCH).days


def _expression(scope: SearchScope) -> str:
    """Return the scope as a Milvus expression; the org is always its first condition."""
    conditions = [_equals("org", scope.org)]
    chosen: tuple[tuple[str, Collection[str]], ...] = (
        ("kind", [kind.value for kind in scope.kinds]),
        ("platform", scope.platforms),
        ("level", scope.levels),
        ("account_id", scope.account_ids),
        ("campaign_id", scope.campaign_ids),
        ("document_id", scope.document_ids),
    )
    conditions += [_one_of(name, values) for name, values in chosen if values]
    if scope.where is not None:
        conditions.append(f"({to_milvus(scope.where, fields=_FILTER_FIELDS)})")
    if scope.start_date is not None:
        conditions.append(f"end_day >= {_days(scope.start_date)}")
    if scope.end_date is not None:
        conditions.append(f"start_day <= {_days(scope.end_date)}")
    if scope.minimum_quality is not None:
        conditions.append(f"quality >= {milvus_literal(float(scope.minimum_quality))}")
    return " and ".join(conditions)


def _equals(name: str, value: str) -> str:
    return f"{name} == {milvus_literal(value)}"


def _one_of(name: str, values: Iterable[str]) -> str:
    return f"{name} in [{', '.join(milvus_literal(value) for value in sorted(set(values)))}]"


def _batches(items: list[T]) -> list[list[T]]:
    return [
        items[start : start + BATCH_DOCUMENTS] for start in range(0, len(items), BATCH_DOCUMENTS)
    ]
