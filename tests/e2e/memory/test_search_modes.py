"""Search by named dimensions and by relations, alone and together with the other legs."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.indexing_harness import (
    WEEK,
    Pieces,
    entry,
    monday,
    opened_pieces,
    purge,
    running_milvus,
    write,
)
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import artifact_pb2, document_pb2, entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.domain.concept_lexicon import DIRECTIONS
from liftos_memory.settings import MemorySettings

NEURAL = document_pb2.SEARCH_MODE_NEURAL
LEXICAL = document_pb2.SEARCH_MODE_LEXICAL
CONCEPTUAL = document_pb2.SEARCH_MODE_CONCEPTUAL
KNOWLEDGE = document_pb2.SEARCH_MODE_KNOWLEDGE
HYBRID = document_pb2.SEARCH_MODE_HYBRID
PROFILE = document_pb2.DOCUMENT_KIND_PROFILE
DIGEST = document_pb2.DOCUMENT_KIND_WEEKLY_DIGEST
CAMPAIGN = entry_pb2.ENTRY_LEVEL_CAMPAIGN
LEGS = (NEURAL, LEXICAL, CONCEPTUAL, KNOWLEDGE)

ORG: Final = "modes"
TWINS: Final = ("twin-a", "twin-b")
SPENDS: Final = {"winter": 10, "spring": 100, "summer": 1_000, "autumn": 5_000}


@pytest.fixture(scope="module")
async def milvus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """A Milvus of the module's own."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module")
def memory_settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    """Settings over the module's Milvus, without a model."""
    return load(
        MemorySettings,
        {name: value for name, value in database.environment.items() if "OWNER" not in name}
        | {
            "LIFTOS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_DRAIN_SECONDS": "5",
            "LIFTOS_MILVUS_URL": milvus.url,
            "LIFTOS_EMBEDDER": "hash:",
        },
    )


@pytest.fixture(scope="module")
async def pieces(memory_settings: MemorySettings) -> AsyncIterator[Pieces]:
    """The parts of a worker; the index exists."""
    async with opened_pieces(memory_settings) as opened:
        await opened.index.ensure()
        yield opened


def _campaigns(**fields: Any) -> list[entry_pb2.Entry]:
    """Four campaigns over ten weeks: each spends more than the one before, the last one shrinks.

    Winter grows, spring is steady, and each click of a large one costs less.
    """
    rows = []
    for place, (name, spend) in enumerate(SPENDS.items()):
        for week in range(10):
            growth = {"winter": 1 + week, "autumn": 10 - week}.get(name, 5)
            rows.append(
                entry(
                    monday(12) + week * WEEK + timedelta(days=place),
                    name,
                    **{
                        "campaign_name": f"{name.capitalize()} sale",
                        "channel": "PAID_SOCIAL" if place < 2 else "SEARCH",
                        "currency_code": "USD",
                        "spend_micros": spend * growth * 1_000_000,
                        "impressions": spend * 1_000,
                        "clicks": spend * growth * (place + 1),
                    }
                    | fields,
                )
            )
    return rows


def _below_summer() -> list[entry_pb2.Entry]:
    """An ad group and an ad of the summer campaign, and on Google a namesake of winter."""
    day = monday(2)
    below = {"campaign_name": "Summer sale", "ad_group_id": "ag", "ad_group_name": "Beach"}
    return [
        entry(day, "summer", level="ENTRY_LEVEL_AD_GROUP", **below),
        entry(day, "summer", level="ENTRY_LEVEL_AD", **below, ad_id="ad", ad_name="Towels"),
        entry(day, "g-1", platform="google_ads", account_id="2", campaign_name="Winter Sale"),
        entry(day, "g-2", platform="google_ads", account_id="2", campaign_name="Umbrellas"),
    ]


@pytest.fixture(scope="module")
async def client(memory_client: ClientFactory, pieces: Pieces) -> Any:
    """Client of an org with objects that differ in every way; all is indexed."""
    client = memory_client(ORG)
    await write(client, ORG, _campaigns() + _below_summer())
    note = artifact_pb2.Note(
        name=f"orgs/{ORG}/notes/n", scope="causal", title="Beach", text="The summer sale was large."
    )
    await client.BatchUpsertNotes(pb.BatchUpsertNotesRequest(parent=f"orgs/{ORG}", notes=[note]))
    await pieces.catch_up()
    return client


async def _search(client: Any, org: str, query: str, **fields: Any) -> Any:
    request: dict[str, Any] = {"parent": f"orgs/{org}", "query": query, "page_size": 100}
    return await client.SearchDocuments(pb.SearchDocumentsRequest(**(request | fields)))


async def _refused(client: Any, org: str, query: str, **fields: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _search(client, org, query, **fields)
    return refusal_of(refused.value)


def _ids(answer: Any) -> list[str]:
    """The innermost id of each hit's object."""
    refs = [hit.document.object for hit in answer.hits]
    return [ref.ad_id or ref.ad_group_id or ref.campaign_id or ref.account_id for ref in refs]


def _places(hit: Any) -> Mapping[str, Any]:
    return {concept.dimension: concept for concept in hit.concepts}


ON_META: Final = 'platform = "meta" AND level = CAMPAIGN'


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("large campaigns", ["autumn", "summer", "spring", "winter"]),
        ("small campaigns", ["winter", "spring", "summer", "autumn"]),
        ("growing", ["winter", "spring", "summer", "autumn"]),
        ("cheap, not costly: low cost", ["autumn", "summer", "spring", "winter"]),
        ("average spend", ["spring", "summer", "autumn", "winter"]),
    ],
)
async def test_concepts_rank_by_the_dimensions_that_are_named(
    client: Any, query: str, order: list[str]
) -> None:
    """Percentiles within org and level decide, one document for each object."""
    answer = await _search(client, ORG, query, mode=CONCEPTUAL, filter=ON_META)
    # Of equally close ones the id decides.
    assert sorted(_ids(answer)) == sorted(order)
    closeness = [hit.legs[0].raw_score for hit in answer.hits]
    assert closeness == sorted(closeness, reverse=True)
    by_id = dict(zip(_ids(answer), closeness, strict=True))
    assert [by_id[each] for each in order] == pytest.approx(closeness)
    assert {hit.document.kind for hit in answer.hits} == {PROFILE}
    assert all(0 <= each <= 1 for each in closeness)


async def test_hits_show_where_their_objects_stand(client: Any) -> None:
    """Each known dimension with what was measured, what was wished, and in the sentence."""
    (hit, *_) = (await _search(client, ORG, "large, growing", mode=CONCEPTUAL, filter=ON_META)).hits
    places = _places(hit)
    assert places["scale"].measure == "spend a week in USD"
    assert places["scale"].target == places["growth"].target == 1.0
    assert not places["recency"].HasField("target")
    assert "efficiency" not in places, "nothing is known of revenue or conversions"
    assert "seasonality" not in places, "three months tell nothing of seasons"
    assert f"scale {places['scale'].percentile:.2f}" in hit.explanation
    assert f"growth {places['growth'].percentile:.2f}" in hit.explanation
    answer = await _search(client, ORG, "large", mode=CONCEPTUAL, filter=ON_META)
    scale = [_places(each)["scale"].percentile for each in answer.hits]
    assert scale == pytest.approx([0.875, 0.625, 0.375, 0.125])
    (report,) = answer.legs
    assert (report.mode, report.hit_count, report.note) == (CONCEPTUAL, 4, "looked for high scale")
    assert not report.failed
    words = await _search(client, ORG, "winter", mode=LEXICAL, filter=ON_META)
    assert _places(words.hits[0]).keys() == places.keys(), "in every mode"


async def test_what_is_unknown_is_farthest(client: Any) -> None:
    """An object without spend is no small one."""
    answer = await _search(
        client, ORG, "small and recent", mode=CONCEPTUAL, filter="level = CAMPAIGN"
    )
    assert _ids(answer)[0] in SPENDS
    by_id = dict(zip(_ids(answer), answer.hits, strict=True))
    assert "scale not known" in by_id["g-1"].explanation
    (leg,) = by_id["g-1"].legs
    recency = _places(by_id["g-1"])["recency"].percentile
    assert leg.raw_score == pytest.approx(1 - ((1 + (1 - recency) ** 2) / 2) ** 0.5, abs=1e-6)


async def test_like_finds_what_resembles_an_object(client: Any) -> None:
    """The same level, without itself, by all dimensions that are known of it or by those named."""
    like = document_pb2.ObjectRef(
        platform="meta", level=CAMPAIGN, account_id="act_1", campaign_id="autumn"
    )
    answer = await _search(client, ORG, "", mode=CONCEPTUAL, like=like)
    assert _ids(answer)[0] == "summer"
    assert set(_ids(answer)) == {"winter", "spring", "summer", "g-1", "g-2"}
    assert _places(answer.hits[0])["scale"].target == pytest.approx(0.875)
    named = await _search(client, ORG, "of the same growth", mode=CONCEPTUAL, like=like)
    assert {each.dimension for each in named.hits[0].concepts if each.HasField("target")} == {
        "growth"
    }
    unknown = document_pb2.ObjectRef(
        platform="meta", level=CAMPAIGN, account_id="act_1", campaign_id="nothing"
    )
    for fields, field in (
        ({"like": unknown, "mode": CONCEPTUAL}, "like"),
        ({"like": like, "mode": HYBRID}, "like"),
        ({"like": document_pb2.ObjectRef(platform="meta"), "mode": CONCEPTUAL}, "like.level"),
        ({"like": document_pb2.ObjectRef(level=CAMPAIGN), "mode": CONCEPTUAL}, "like.platform"),
    ):
        refusal = await _refused(client, ORG, "", **fields)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.violations[0][0] == field
    wordless = await _refused(client, ORG, "umbrellas", mode=CONCEPTUAL, like=like)
    assert wordless.violations[0][0] == "query"


async def test_a_query_without_a_word_of_the_lexicon(client: Any) -> None:
    """Alone it is refused with words to use; among other legs it adds nothing, and says so."""
    refusal = await _refused(client, ORG, "umbrellas", mode=CONCEPTUAL)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "write words such as" in refusal.message
    answer = await _search(client, ORG, "umbrellas", weights=_weights(1, 1, 1, 1))
    assert answer.hits
    assert _reports(answer)[CONCEPTUAL] == (0, "no word of the query names a dimension")
    for hit in answer.hits:
        assert "CONCEPTUAL added 0: no word of the query names a dimension" in hit.explanation
        assert sum(leg.weight for leg in hit.legs) <= 0.75 + 1e-9


def _weights(*weights: float) -> list[Any]:
    return [
        pb.SearchWeight(mode=mode, weight=weight)
        for mode, weight in zip(LEGS, weights, strict=True)
        if weight
    ]


def _reports(answer: Any) -> dict[Any, tuple[int, str]]:
    return {report.mode: (report.hit_count, report.note) for report in answer.legs}


async def test_knowledge_goes_along_relations(client: Any) -> None:
    """Named objects first, then one step and two, each halving the nearness, with the way told."""
    answer = await _search(client, ORG, "beach", mode=KNOWLEDGE)
    nearness = dict(zip(_ids(answer), (hit.legs[0].raw_score for hit in answer.hits), strict=True))
    told = dict(zip(_ids(answer), (hit.explanation for hit in answer.hits), strict=True))
    assert nearness == pytest.approx({"ag": 1, "ad": 0.5, "summer": 0.5, "autumn": 0.25})
    assert "the query names it" in told["ag"]
    assert "below Meta (Facebook, Instagram) ad group “Beach”, which the query names" in told["ad"]
    assert "above Meta (Facebook, Instagram) ad group “Beach”" in told["summer"]
    assert (
        "in the channel of Meta (Facebook, Instagram) campaign “Summer sale”, which is above"
        " Meta (Facebook, Instagram) ad group “Beach”, which the query names"
    ) in told["autumn"]
    assert _reports(answer)[KNOWLEDGE][1].startswith("began at Meta")


async def test_objects_that_are_called_alike_or_share_an_account_are_related(client: Any) -> None:
    """Over platforms by name, and through an account that has no entries of its own."""
    answer = await _search(client, ORG, "g-1", mode=KNOWLEDGE)
    told = dict(zip(_ids(answer), (hit.explanation for hit in answer.hits), strict=True))
    assert _ids(answer)[0] == "g-1"
    assert "called like Google Ads campaign “Winter Sale”" in told["winter"]
    assert "below an object without entries, which is above Google Ads campaign" in told["g-2"]
    assert "spring" in told, "it is in the channel of winter"
    both = await _search(client, ORG, "winter sale umbrellas", mode=KNOWLEDGE)
    assert set(_ids(both)[:3]) == {"winter", "g-1", "g-2"}
    nothing = await _search(client, ORG, "giraffes", mode=KNOWLEDGE)
    assert not nothing.hits
    assert _reports(nothing)[KNOWLEDGE] == (
        0,
        "no object's name or id has a word of the query",
    )
    outside = await _search(client, ORG, "beach", mode=KNOWLEDGE, filter='platform = "klaviyo"')
    assert _reports(outside)[KNOWLEDGE][1].endswith("but nothing related is in scope")


@pytest.mark.parametrize(("mode", "query"), [(CONCEPTUAL, "large"), (KNOWLEDGE, "sale")])
async def test_filters_hold_for_objects_as_for_words(client: Any, mode: Any, query: str) -> None:
    """Scope comes before ranking: kinds, fields, days and quality."""
    everything = await _search(client, ORG, query, mode=mode)
    digests = await _search(client, ORG, query, mode=mode, kinds=[DIGEST])
    assert set(_ids(digests)) == set(_ids(everything))
    assert {hit.document.kind for hit in digests.hits} == {DIGEST}
    old = await _search(
        client, ORG, query, mode=mode, date_range=_range(monday(12), monday(11)), kinds=[DIGEST]
    )
    assert set(_ids(old)) == set(SPENDS)
    assert all(hit.document.date_range.end_date < monday(10).isoformat() for hit in old.hits)
    # Of the asked days: two Mondays, and one of each other day of the week.
    assert {hit.document.object.campaign_id: hit.entry_count for hit in old.hits} == dict.fromkeys(
        SPENDS, 1
    ) | {"winter": 2}
    best = await _search(client, ORG, query, mode=mode, minimum_quality_score=0.95)
    assert set(_ids(best)) <= set(_ids(everything))
    assert all(hit.document.quality_score >= 0.95 for hit in best.hits)
    one = await _search(client, ORG, query, mode=mode, filter='campaign_id = "autumn"')
    assert _ids(one) == ["autumn"]
    for where, expected in (
        ('scope = "causal"', []),
        ('NOT scope:"c*"', _ids(everything)),
        ('scope < "a"', _ids(everything)),
        ("level = CAMPAIGN", [each for each in _ids(everything) if each not in {"ag", "ad"}]),
    ):
        found = await _search(client, ORG, query, mode=mode, filter=where)
        assert sorted(_ids(found)) == sorted(expected), where
    notes = await _search(client, ORG, query, mode=mode, kinds=[document_pb2.DOCUMENT_KIND_NOTE])
    assert not notes.hits


def _range(start: Any, end: Any) -> marketing_pb2.DateRange:
    return marketing_pb2.DateRange(start_date=start.isoformat(), end_date=end.isoformat())


async def test_all_legs_together(client: Any) -> None:
    """Each leg scores what it knows of every hit, also of digests, and contributions add up."""
    answer = await _search(client, ORG, "large summer sale", weights=_weights(0.4, 0.3, 0.2, 0.1))
    reports = _reports(answer)
    assert list(reports) == list(LEGS)
    assert all(count for count, _ in reports.values())
    for hit in answer.hits:
        assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.legs))
        modes = [leg.mode for leg in hit.legs]
        if hit.document.object.campaign_id in SPENDS and not hit.document.object.ad_group_id:
            assert {CONCEPTUAL, KNOWLEDGE} <= set(modes), "digests as well as profiles"
        elif not hit.document.HasField("object"):
            assert not {CONCEPTUAL, KNOWLEDGE} & set(modes)
    assert _ids(answer)[0] == "summer"
    grouped = await _search(
        client, ORG, "large summer sale", weights=_weights(1, 1, 1, 1), group_by_object=True
    )
    names = [(hit.document.object.SerializeToString(), hit.document.record) for hit in grouped.hits]
    assert len(set(names)) == len(names)


async def test_a_slip_is_read_as_the_name_that_is_meant(
    memory_client: ClientFactory, pieces: Pieces, client: Any, org: str
) -> None:
    """By the legs of words, told in leg and hit; never in place of a word that the org has."""
    read = "“sumemr” is read as “summer”"
    for mode in (LEXICAL, KNOWLEDGE):
        meant = await _search(client, ORG, "summer", mode=mode)
        assert meant.hits
        slipped = await _search(client, ORG, "sumemr", mode=mode)
        assert [hit.document.name for hit in slipped.hits] == [
            hit.document.name for hit in meant.hits
        ]
    answer = await _search(client, ORG, "Sumemr sale 2031", weights=_weights(1, 1, 0, 0))
    assert _reports(answer)[LEXICAL][1] == read
    assert read in answer.hits[0].explanation
    spans = [(each.snippet, span) for each in answer.hits[0].highlights for span in each.spans]
    assert "summer" in {snippet[span.start : span.end].lower() for snippet, span in spans}
    # Another org has other names, and one that has the word means it.
    other = memory_client(org)
    assert not (await _search(other, org, "sumemr", mode=LEXICAL)).hits
    note = artifact_pb2.Note(name=f"orgs/{org}/notes/n", scope="x", text="The sumemr of love.")
    await other.BatchUpsertNotes(pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=[note]))
    await write(other, org, [entry(monday(2), "a", campaign_name="Summer")])
    await pieces.catch_up()
    answer = await _search(other, org, "sumemr", mode=LEXICAL)
    assert [hit.document.record for hit in answer.hits] == [note.name]
    assert _reports(answer)[LEXICAL][1] == ""
    # When the last object of a name has gone, nothing is corrected to it.
    assert _ids(await _search(other, org, "summre", mode=LEXICAL))
    await write(other, org, [entry(monday(2), "a", campaign_name="Autumn")])
    await pieces.catch_up()
    assert not (await _search(other, org, "summre", mode=LEXICAL)).hits


async def test_the_store_gives_the_name_of_every_slip(
    memory_client: ClientFactory, pieces: Pieces, org: str
) -> None:
    """For each place and kind of slip, in words of even and odd length; and of the word itself."""
    names = ("boot", "coats", "Winter", "Cookwares", "Überschall")
    await write(
        memory_client(org),
        org,
        [entry(monday(2), name, campaign_name=f"{name} {name} 7") for name in names],
    )
    await pieces.catch_up()
    folded = ("boot", "coats", "winter", "cookwares", "uberschall")
    for word in folded:
        slips = {word}
        for place in range(1, len(word) + 1):
            left, right = word[:place], word[place:]
            slips |= {left + letter + right for letter in "aqz"}
            slips |= {left + letter + right[1:] for letter in "aqz" if right}
            slips |= {left + right[1:], left + right[1:2] + right[:1] + right[2:]}
        found = await pieces.objects.similar_names(org, slips)
        assert {slip for slip in slips if found.get(slip, {}).get(word) == 1} == slips
    assert await pieces.objects.similar_names(org, ["zeppelin", "dinner"]) == {}
    assert await pieces.objects.similar_names("another-org", folded) == {}


async def test_the_week_that_is_asked_for_stands_before_others(client: Any) -> None:
    """In a hybrid search: digests of other weeks count half, which their explanation says."""
    for weeks_ago in (10, 5):
        week = monday(weeks_ago).isocalendar()
        query = f"winter sale in week {week.week} of {week.year}"
        hits = (await _search(client, ORG, query, filter=ON_META, kinds=[DIGEST])).hits
        winter = [hit for hit in hits if hit.document.object.campaign_id == "winter"]
        assert len(winter) > 5
        first, *others = winter
        assert first.document.date_range.start_date == monday(weeks_ago).isoformat()
        assert "other days" not in first.explanation
        for hit in others:
            assert hit.score <= 0.5
            assert "is about other days than the query names, and counts half" in hit.explanation
            assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.legs))


@pytest.mark.parametrize(
    ("query", "notes"),
    [
        (
            "what is the",
            {
                NEURAL: "the query has only words that say nothing, such as “the” or “what”; what"
                " is nearest to them may be anything",
                LEXICAL: "the query has only words that say nothing, such as “the” or “what”",
                KNOWLEDGE: "no object's name or id has a word of the query",
            },
        ),
        (
            "зимняя распродажа",
            {
                NEURAL: "most letters of the query are not Latin; the model may not know what"
                " they mean",
                KNOWLEDGE: "no object's name or id has a word of the query",
            },
        ),
        (
            "zeppelin hangar",
            {NEURAL: "", LEXICAL: "no document in scope has a word of the query"},
        ),
        (
            "!? …",
            {
                NEURAL: "the query has no letters, so that closeness of meaning says little",
                LEXICAL: "the query has no letters or digits",
            },
        ),
    ],
)
async def test_queries_that_say_little_are_told_so(
    client: Any, query: str, notes: dict[Any, str]
) -> None:
    """Stop words, another script or no words at all: each leg says what it made of it."""
    answer = await _search(client, ORG, query, weights=_weights(1, 1, 1, 1))
    reports = _reports(answer)
    for mode, note in notes.items():
        assert reports[mode][1] == note
    alone = await _search(client, ORG, query, mode=LEXICAL)
    assert not alone.hits
    refusal = await _refused(client, ORG, query, mode=CONCEPTUAL)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_concepts_follow_writes_and_purges(
    memory_client: ClientFactory, pieces: Pieces, org: str
) -> None:
    """A new object moves all others, and one that is gone is compared with no more."""
    client = memory_client(org)
    await write(client, org, [_spending("a", 10), _spending("b", 20)])
    await pieces.catch_up()
    assert await _scales(client, org) == pytest.approx({"a": 0.25, "b": 0.75})
    await write(client, org, [_spending("c", 5), _spending("a", 30)])
    await write(client, org, [_spending("d", 90, currency_code="EUR")], origin="run/d")
    await pieces.catch_up()
    scales = {"a": 5 / 6, "b": 0.5, "c": 1 / 6, "d": 0.5}
    assert await _scales(client, org) == pytest.approx(scales, abs=1e-4)
    await purge(client, org, "run/d")
    await pieces.catch_up()
    del scales["d"]
    assert await _scales(client, org) == pytest.approx(scales, abs=1e-4)


def _spending(campaign: str, spend: int, **fields: Any) -> entry_pb2.Entry:
    given: dict[str, Any] = {"currency_code": "USD", "spend_micros": spend * 1_000_000}
    return entry(monday(2), campaign, **(given | fields))


async def _scales(client: Any, org: str) -> dict[str, float]:
    answer = await _search(client, org, "large", mode=CONCEPTUAL)
    return {
        hit.document.object.campaign_id: _places(hit)["scale"].percentile for hit in answer.hits
    }


@pytest.fixture(scope="module")
async def twins(memory_client: ClientFactory, pieces: Pieces) -> dict[str, Any]:
    """Clients of two orgs with the same data; a third word tells whose a document is."""
    clients = {org: memory_client(org) for org in TWINS}
    for org, client in clients.items():
        await write(client, org, _campaigns() + _below_summer())
        note = artifact_pb2.Note(name=f"orgs/{org}/notes/n", scope="causal", text="Summer, large.")
        await client.BatchUpsertNotes(
            pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=[note])
        )
    await pieces.catch_up()
    return clients


_WORDS: Final = (
    *("winter", "summer sale", "beach", "g-1", "act_1", "umbrellas", "causal", "twin-a", "modes"),
    *(ends[0].split()[0] for ends in DIRECTIONS.values()),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    words=st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4),
    mode=st.sampled_from([NEURAL, LEXICAL, KNOWLEDGE, CONCEPTUAL, HYBRID]),
    where=st.sampled_from(["", "level = CAMPAIGN", 'NOT platform = "meta"', 'scope:"c*"']),
)
async def test_two_orgs_with_the_same_data_never_see_each_other(
    twins: dict[str, Any], words: list[str], mode: Any, where: str
) -> None:
    """Both get the same answer, each of its own documents, records and entries alone."""
    query = " ".join(words)
    fields: dict[str, Any] = {"mode": mode, "filter": where}
    if mode == HYBRID:
        fields["weights"] = _weights(0.4, 0.3, 0.2, 0.1)
    answers: list[Any] = []
    for org, client in twins.items():
        try:
            answer = await _search(client, org, query, **fields)
        except grpc.aio.AioRpcError as error:
            answers.append(refusal_of(error).message)
            continue
        for hit in answer.hits:
            names = [hit.document.name, *hit.entries, *filter(None, [hit.document.record])]
            assert all(name.startswith(f"orgs/{org}/") for name in names)
        answers.append(
            [
                (
                    hit.document.name.rpartition("/")[2],
                    hit.entry_count,
                    [(leg.mode, round(leg.raw_score, 5)) for leg in hit.legs],
                    [(each.dimension, each.percentile) for each in hit.concepts],
                )
                for hit in answer.hits
            ]
        )
    first, second = answers
    assert first == second
