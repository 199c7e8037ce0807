"""What commands ask Ingestion, and what they make of its answers."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.inprocess.cli.recording_ingestion import RecordingIngestion, serving
from typer.testing import CliRunner, Result

from liftos.common.v1.marketing_pb2 import DateRange, ItemError
from liftos.ingestion.v1 import (
    alert_pb2,
    connection_pb2,
    object_pb2,
    run_pb2,
    schedule_pb2,
    source_pb2,
)
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import DateBasis, Entry, EntryLevel, Metrics
from liftos_cli.main import app
from liftos_cli.source_files import FIELD_ORDER
from liftos_cli.yaml_objects import parse_yaml
from liftos_ingestion.adapters.sources.declarative_http import HTTP_SCHEMA
from liftos_ingestion.adapters.sources.files import FILES_SCHEMA
from liftos_kit.core.errors import (
    AlreadyExistsError,
    CredentialsRejectedError,
    DomainError,
    InvalidFieldsError,
    NotFoundError,
    StateTransitionError,
    StoreUnavailableError,
)
from liftos_mapping.language_schema import MAPPING_SCHEMA

_ID = "0123456789abcdef" * 2
_SHOP = "orgs/demo/connections/shop"
_OTHER_ID = "fedcba9876543210" * 2

Run = Callable[..., Result]


@pytest.fixture
def ingestion() -> RecordingIngestion:
    """What the server answers from."""
    return RecordingIngestion()


@pytest.fixture
def liftos(ingestion: RecordingIngestion) -> Iterator[Run]:
    """Runs a command against that server."""
    with serving(ingestion) as target:
        environment = {"LIFTOS_INGESTION_TARGET": target, "LIFTOS_JWT_SECRET": "s" * 40}

        def run(*arguments: str, stdin: str = "", **variables: str) -> Result:
            return CliRunner().invoke(
                app, list(arguments), input=stdin, env={**environment, **variables}
            )

        yield run


@pytest.mark.parametrize(
    ("method", "words", "refusal", "advice"),
    [
        (
            "VerifyConnection",
            "connections verify shop --timeout 3",
            StoreUnavailableError("acme", problem="Nobody."),
            "`liftos sources get acme`",
        ),
        (
            "StartRun",
            "runs start shop",
            StateTransitionError(_SHOP, state="UNVERIFIED", allowed_states=["ACTIVE"]),
            "`liftos connections verify shop`",
        ),
        (
            "StartRun",
            "runs start shop",
            StateTransitionError(_SHOP, state="DISABLED", allowed_states=["ACTIVE"]),
            "`liftos connections update shop --enable`",
        ),
        (
            "CreateConnection",
            "connections create shop --platform facebook --name Shop",
            NotFoundError("orgs/demo/sources/facebook"),
            "`liftos sources list`",
        ),
        (
            "CreateConnection",
            "connections create shop --platform meta --name Shop",
            AlreadyExistsError(_SHOP),
            "`liftos connections set-credential shop`",
        ),
        (
            "VerifyConnection",
            "connections verify shop",
            CredentialsRejectedError(_SHOP, platform="meta"),
            "`liftos sources get meta`",
        ),
    ],
)
def test_a_refusal_says_which_command_helps(  # noqa: PLR0917  # pytest gives them by name
    liftos: Run,
    ingestion: RecordingIngestion,
    method: str,
    words: str,
    refusal: DomainError,
    advice: str,
) -> None:
    """It is told with what it is about, and a command to type."""
    ingestion.refusals[method] = refusal
    outcome = liftos(*words.split())
    message, told = outcome.stderr.splitlines()
    assert message == f"Error: {refusal.message}"
    assert told.startswith("What to do: ")
    assert advice in told


def test_objects_are_narrowed_by_options(liftos: Run, ingestion: RecordingIngestion) -> None:
    """Each option is a part of the filter, and all of them hold."""
    ingestion.answers["ListObjects"] = pb.ListObjectsResponse(
        objects=[
            object_pb2.PlatformObject(
                platform="meta",
                account_id="1001",
                level=EntryLevel.ENTRY_LEVEL_AD,
                object_id="9",
                display_name="Hat",
                state="ARCHIVED",
                parent_id="5",
            )
        ]
    )
    outcome = liftos(
        *("connections", "objects", "--platform", "meta", "--account", "1001", "--account", "7"),
        *("--level", "ad", "--filter", 'state = "ARCHIVED"'),
    )
    assert outcome.stdout.splitlines()[1].split() == [
        "meta",
        "1001",
        "AD",
        "9",
        "Hat",
        "ARCHIVED",
        "5",
    ]
    assert ingestion.seen["ListObjects"].filter == (
        '(state = "ARCHIVED") AND platform = "meta"'
        ' AND (account_id = "1001" OR account_id = "7") AND (level = "AD")'
    )


def test_an_alert_says_what_it_is_about(liftos: Run, ingestion: RecordingIngestion) -> None:
    """The list has connection and account; acknowledging keeps the comment."""
    alert = alert_pb2.Alert(
        name=f"orgs/demo/alerts/{_ID}",
        kind=alert_pb2.ALERT_KIND_DATA_LATE,
        severity=alert_pb2.ALERT_SEVERITY_WARNING,
        state=alert_pb2.ALERT_STATE_OPEN,
        summary="The newest day is old.",
        connection="orgs/demo/connections/meta-main",
        account_id="1001",
        occurrence_count=3,
    )
    ingestion.answers["ListAlerts"] = pb.ListAlertsResponse(alerts=[alert])
    ingestion.answers["AcknowledgeAlert"] = pb.AcknowledgeAlertResponse(alert=alert)
    listed = liftos("alerts", "list", "--filter", 'state = "OPEN"')
    assert "OPEN   WARNING   DATA_LATE  meta-main 1001     3" in listed.stdout
    assert ingestion.seen["ListAlerts"].filter == 'state = "OPEN"'
    assert liftos("alerts", "acknowledge", _ID, "--comment", "seen").exit_code == 0
    assert ingestion.seen["AcknowledgeAlert"].comment == "seen"


def test_a_dead_letter_is_listed_by_the_id_that_replays_it(
    liftos: Run, ingestion: RecordingIngestion
) -> None:
    """RUN/DEAD_LETTER goes out as the whole name."""
    letter = run_pb2.DeadLetter(
        name=f"orgs/demo/runs/{_ID}/deadLetters/{_OTHER_ID}",
        state=run_pb2.DEAD_LETTER_STATE_OPEN,
        platform="meta",
        errors=[ItemError(field="metrics.clicks", rule="NEGATIVE", message="must not be negative")],
    )
    row: dict[str, Any] = {"views": -5, "clicks": "-5", "at": {"hour": 7, "cost": 0.5, "far": 1e20}}
    letter.row.update(row)
    ingestion.answers["ListDeadLetters"] = pb.ListDeadLettersResponse(dead_letters=[letter])
    ingestion.answers["GetDeadLetter"] = pb.GetDeadLetterResponse(dead_letter=letter)
    ingestion.answers["ReplayDeadLetters"] = pb.ReplayDeadLettersResponse(
        run=run_pb2.Run(name=f"orgs/demo/runs/{_OTHER_ID}"), dead_letter_count=1
    )
    shown = liftos("dead-letters", "list").stdout.splitlines()[1].split()[0]
    assert shown == f"{_ID}/{_OTHER_ID}"
    one = liftos("dead-letters", "get", shown).stdout
    told = one.partition("row:\n")[2].partition("\n\n")[0]
    assert told.splitlines()[1:-1] == [
        '  "at": {',
        '    "cost": 0.5,',
        '    "far": 1e+20,',
        '    "hour": 7',
        "  },",
        '  "clicks": "-5",',
        '  "views": -5',
    ]
    as_json = json.loads(liftos("dead-letters", "get", shown, "--json").stdout)
    assert (as_json["row"], str(as_json["row"]["views"])) == (row, "-5")
    assert "metrics.clicks  NEGATIVE  must not be negative" in one
    replayed = liftos("dead-letters", "replay", shown)
    assert replayed.stdout == f"Run {_OTHER_ID} tries 1 row.\n"
    assert list(ingestion.seen["ReplayDeadLetters"].names) == [letter.name]


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ((), "no rows are chosen"),
        ((f"{_ID}/{_ID}", "--filter", 'state = "OPEN"'), "ids of rows go with no other choice"),
        ((f"{_ID}/{_ID}", "--run", _ID), "ids of rows go with no other choice"),
    ],
)
def test_rows_are_chosen_in_one_way(
    liftos: Run, ingestion: RecordingIngestion, selection: tuple[str, ...], told: str
) -> None:
    """None and two are errors of usage, and nothing is sent."""
    outcome = liftos("dead-letters", "discard", *selection, "--reason", "a test")
    assert (outcome.exit_code, ingestion.seen) == (2, {})
    assert told in outcome.stderr


def test_a_run_alone_chooses_its_open_rows(liftos: Run, ingestion: RecordingIngestion) -> None:
    """All that still waits for a person; a filter narrows it otherwise."""
    liftos("dead-letters", "replay", "--run", _ID)
    asked = ingestion.seen["ReplayDeadLetters"]
    assert (asked.parent, asked.filter) == (f"orgs/demo/runs/{_ID}", 'state = "OPEN"')
    liftos("dead-letters", "discard", "--run", _ID, "--filter", 'level = "AD"', "--reason", "x")
    assert ingestion.seen["DiscardDeadLetters"].filter == 'level = "AD"'


def test_limits_are_named_for_people(liftos: Run, ingestion: RecordingIngestion) -> None:
    """In the words of the server, and where an older one has none, as scope and key."""
    quotas = [
        run_pb2.Quota(platform="meta", scope="app", key="unnamed", display_name="app of the token"),
        run_pb2.Quota(platform="meta", scope="account", key="1001"),
    ]
    ingestion.answers["GetQuota"] = pb.GetQuotaResponse(quotas=quotas)
    first, second = liftos("runs", "quota").stdout.splitlines()[1:3]
    assert "app of the token" in first
    assert "unnamed" not in first
    assert "account 1001" in second


def test_a_plan_is_summed_up_by_level(liftos: Run, ingestion: RecordingIngestion) -> None:
    """Each meaning of dates is a line of its own; --windows shows each range."""
    plan = schedule_pb2.BackfillPlan(call_count=7)
    plan.duration.FromSeconds(90)
    interaction, conversion = (
        DateBasis.DATE_BASIS_INTERACTION,
        DateBasis.DATE_BASIS_CONVERSION,
    )
    for basis, first, last, calls, committed in (
        (interaction, "2026-02-01", "2026-02-28", 1, False),
        (conversion, "2026-02-01", "2026-02-28", 4, False),
        (interaction, "2026-01-01", "2026-01-31", 2, True),
    ):
        plan.windows.add(
            account_id="7",
            level=EntryLevel.ENTRY_LEVEL_AD,
            date_range=DateRange(start_date=first, end_date=last),
            call_count=calls,
            committed=committed,
            date_basis=basis,
        )
    ingestion.answers["PlanBackfill"] = pb.PlanBackfillResponse(plan=plan)
    words = ("runs", "plan-backfill", "shop", "--from", "2026-01-01", "--to", "yesterday")
    lines = liftos(*words).stdout.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["7", "AD", "INTERACTION", "2026-01-01", "to", "2026-02-28", "2", "3", "-", "1"],
        ["7", "AD", "CONVERSION", "2026-02-01", "to", "2026-02-28", "1", "4", "-", "0"],
    ]
    assert lines[3].startswith("3 windows, 7 calls, about 1 min 30 s; ")
    yesterday = datetime.now().astimezone().date() - timedelta(days=1)
    assert ingestion.seen["PlanBackfill"].date_range.end_date == yesterday.isoformat()
    each = [line.split()[5:] for line in liftos(*words, "--windows").stdout.splitlines()[1:4]]
    assert each == [
        ["2026-02-28", "1", "1", "-", "0"],
        ["2026-02-28", "1", "4", "-", "0"],
        ["2026-01-31", "1", "2", "-", "1"],
    ]


@pytest.mark.parametrize(
    "words",
    [
        "runs start shop",
        "runs plan-backfill shop --from today --to today",
        "schedules create daily --connection shop --name Daily --cron 0",
    ],
)
def test_a_level_that_is_none_is_told_with_those_of_the_platform(
    liftos: Run, ingestion: RecordingIngestion, words: str
) -> None:
    """Not with those of other ones; nothing is started."""
    connection = connection_pb2.Connection(name=_SHOP, platform="klaviyo")
    ingestion.answers["GetConnection"] = pb.GetConnectionResponse(connection=connection)
    source = source_pb2.Source(
        capabilities=source_pb2.SourceCapabilities(levels=[EntryLevel.ENTRY_LEVEL_FLOW])
    )
    ingestion.answers["GetSource"] = pb.GetSourceResponse(source=source)
    outcome = liftos(*words.split(), "--level", "kampagne")
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines() == [
        "Error: --level: 'kampagne' is no level that klaviyo reports.",
        "What to do: choose of FLOW.",
    ]
    assert set(ingestion.seen) == {"GetConnection", "GetSource"}


@pytest.mark.parametrize(
    ("field", "exit_code"), [("date_range.start_date", 2), ("connection.settings", 4)]
)
def test_a_value_that_an_option_does_not_take_is_an_error_of_usage(
    liftos: Run, ingestion: RecordingIngestion, field: str, exit_code: int
) -> None:
    """Whoever finds it; what was not typed is a refusal."""
    ingestion.refusals["StartRun"] = InvalidFieldsError.of(field, "is none")
    outcome = liftos("runs", "start", "shop", "--from", "2026-13-01", "--to", "today")
    assert outcome.exit_code == exit_code


@pytest.mark.parametrize("scope", [(), ("--connection", "meta-main", "--account", "1001")])
def test_a_suspension_says_what_it_holds(
    liftos: Run, ingestion: RecordingIngestion, scope: tuple[str, ...]
) -> None:
    """Without a scope everything; it is lifted by the id that was printed."""
    suspension = alert_pb2.Suspension(name=f"orgs/demo/suspensions/{_ID}", waiting_run_count=2)
    if scope:
        suspension.scope.connection = "orgs/demo/connections/meta-main"
        suspension.scope.account_id = "1001"
    ingestion.answers["SuspendIngestion"] = pb.SuspendIngestionResponse(suspension=suspension)
    ingestion.answers["ResumeIngestion"] = pb.ResumeIngestionResponse(suspension=suspension)
    outcome = liftos("suspensions", "create", "--reason", "the account moves", *scope)
    what = "connection meta-main, account 1001" if scope else "everything"
    assert outcome.stdout == f"Suspended {what}; 2 runs wait: {_ID}\n"
    assert ingestion.seen["SuspendIngestion"].scope == suspension.scope
    lifted = liftos("suspensions", "lift", outcome.stdout.split()[-1])
    assert lifted.stdout == f"Lifted the suspension of {what}.\n"
    assert ingestion.seen["ResumeIngestion"].name == suspension.name


def test_a_source_shows_the_fields_of_its_credential(
    liftos: Run, ingestion: RecordingIngestion
) -> None:
    """What it can do, and its schemas as JSON."""
    source = source_pb2.Source(
        name="orgs/demo/sources/meta",
        display_name="Meta Ads",
        kind=source_pb2.SOURCE_KIND_PLATFORM,
        capabilities=source_pb2.SourceCapabilities(
            levels=[EntryLevel.ENTRY_LEVEL_CAMPAIGN, EntryLevel.ENTRY_LEVEL_AD],
            restatement_days=28,
            api_version="v26.0",
        ),
    )
    source.credential_schema.update({"required": ["access_token"], "minLength": 1})
    ingestion.answers["GetSource"] = pb.GetSourceResponse(source=source)
    ingestion.answers["ListSources"] = pb.ListSourcesResponse(sources=[source])
    one = liftos("sources", "get", "meta").stdout
    assert '"access_token"' in one
    assert '"minLength": 1,' in one
    listed = liftos("sources", "list").stdout.splitlines()[1]
    assert listed.split() == [
        *("meta", "Meta", "Ads", "PLATFORM", "CAMPAIGN,", "AD", "28", "d", "v26.0"),
    ]


_SOURCE_FILE = """\
# Written by hand.
name: acme_ads
display_name: Acme Ads
kind: http
definition:
  base_url: https://api.acme.example
  accounts:
    - {account_id: "007", time_zone: Europe/Berlin, currency_code: EUR}
  reads:
    - level: CAMPAIGN
      path: /daily
      params: {day: "{start_date}"}
  restatement_days: 3
mapping:
  columns:
    date: day
    campaign_id: campaign
    spend_micros: {from: cost, unit: cents}
    channel: {from: country, values: {NO: home, "1": "0.50"}}
"""


def test_a_source_is_one_file_both_ways(
    liftos: Run, ingestion: RecordingIngestion, tmp_path: Path
) -> None:
    """What `get --yaml` prints is sent by `upsert` as it was; JSON does as well, and stdin."""
    file = tmp_path / "acme_ads.yaml"
    file.write_text(_SOURCE_FILE)
    assert liftos("sources", "upsert", str(file)).exit_code == 0
    sent = ingestion.seen["UpsertSource"].source
    assert (sent.name, sent.display_name) == ("orgs/demo/sources/acme_ads", "Acme Ads")
    assert sent.kind == source_pb2.SOURCE_KIND_HTTP
    assert sent.definition["accounts"][0]["account_id"] == "007"
    assert dict(sent.mapping["columns"]["channel"]["values"]) == {"NO": "home", "1": "0.50"}
    ingestion.answers["GetSource"] = pb.GetSourceResponse(source=sent)
    printed = liftos("sources", "get", "acme_ads", "--yaml").stdout
    assert "restatement_days: 3\n" in printed
    written = parse_yaml(printed).value
    assert list(written["definition"]) == ["base_url", "accounts", "reads", "restatement_days"]
    assert list(written["definition"]["reads"][0]) == ["level", "path", "params"]
    as_json = json.dumps(written)
    for place, text in (("-", printed), ("-", as_json), (str(tmp_path / "x.json"), as_json)):
        if place != "-":
            Path(place).write_text(text)
        ingestion.seen.clear()
        assert liftos("sources", "upsert", place, stdin=text).exit_code == 0
        assert ingestion.seen["UpsertSource"].source == sent
    sent.built_in = True
    ingestion.answers["GetSource"] = pb.GetSourceResponse(source=sent)
    refused = liftos("sources", "get", "meta", "--yaml")
    assert (refused.exit_code, "is built in" in refused.stderr) == (2, True)


@pytest.mark.parametrize("schema", [HTTP_SCHEMA, FILES_SCHEMA, MAPPING_SCHEMA])
def test_every_field_of_a_source_has_its_place(schema: Mapping[str, Any]) -> None:
    """A field that a schema has more is written where people look for it."""
    columns = schema["properties"].get("columns")
    todo: list[Any] = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict) and part is not columns:
            fields = part.get("properties")
            if isinstance(fields, dict):
                assert set(fields) <= set(FIELD_ORDER)
            todo += part.values()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("kind: http\n", ""), ["{file}: kind: is required."]),
        (("kind: http", "kind: [http]"), ["{file}:4: kind: must be a text."]),
        (("kind: http", "kind: ftp"), ["{file}:4: kind: 'ftp' is none of PLATFORM, FILES,"]),
        (("kind: http", "kind: http\nkind: files"), ["{file} is no YAML: line 5: kind stands"]),
        (
            ("mapping:", "maping: {}\ncolour: red\nmapping:"),
            ["{file}:14: maping: is not known; there are name,", "  {file}:15: colour: is not"],
        ),
        (("    date:", "   date:"), ["{file} is no YAML: line 17: "]),
        (("mapping:", "mapping: x #"), ["{file} is no YAML: line 15: "]),
    ],
)
def test_a_file_that_is_no_source_is_told_by_line(
    liftos: Run,
    ingestion: RecordingIngestion,
    tmp_path: Path,
    change: tuple[str, str],
    told: list[str],
) -> None:
    """Everything that is wrong, where it stands; nothing is sent."""
    file = tmp_path / "acme_ads.yaml"
    file.write_text(_SOURCE_FILE.replace(*change, 1))
    outcome = liftos("sources", "upsert", str(file))
    assert "UpsertSource" not in ingestion.seen
    lines = outcome.stderr.removeprefix("Error: ").splitlines()
    for line, beginning in zip(lines, told, strict=False):
        assert line.startswith(beginning.format(file=file))
    assert outcome.exit_code != 0


def test_a_preview_ends_with_1_where_rows_would_be_refused(
    liftos: Run, ingestion: RecordingIngestion, tmp_path: Path
) -> None:
    """Rows go out as they are; entries come back beside the row that they came from."""
    mapping = tmp_path / "weather.yaml"
    mapping.write_text("name: weather\nmapping:\n  fields: {}\n")
    ingestion.answers["PreviewMapping"] = pb.PreviewMappingResponse(
        entries=[Entry(date="2026-01-05", platform="weather", metrics=Metrics(clicks=3))],
        source_indexes=[1],
        item_errors=[ItemError(index=0, field="date", message="is missing")],
        unmapped_fields=["humidity"],
    )
    outcome = liftos(
        *("sources", "preview", "weather", "--mapping", str(mapping), "--rows", "-"),
        *("--columns", "date,clicks"),
        stdin='{"id": "9007199254740993"}\n{"id": "2"}\n',
    )
    assert outcome.exit_code == 1
    assert outcome.stdout == "row  date        clicks\n  2  2026-01-05       3\n"
    assert "Row 1 is refused: date: is missing" in outcome.stderr
    assert "humidity" in outcome.stderr
    request = ingestion.seen["PreviewMapping"]
    assert [dict(row) for row in request.rows] == [{"id": "9007199254740993"}, {"id": "2"}]
    assert dict(request.mapping["fields"]) == {}


def test_the_workers_own_credential_sends_no_secret(
    liftos: Run, ingestion: RecordingIngestion
) -> None:
    """Only where it is; a credential that could not be tried ends with 1."""
    ingestion.answers["SetCredential"] = pb.SetCredentialResponse(
        connection=connection_pb2.Connection(
            name="orgs/demo/connections/meta-main",
            state=connection_pb2.CONNECTION_STATE_UNVERIFIED,
        )
    )
    arguments = ("connections", "set-credential", "meta-main", "--worker-file", "demo/meta.json")
    assert liftos(*arguments).exit_code == 1
    assert ingestion.seen["SetCredential"].credential.file_path == "demo/meta.json"


def test_lists_are_json_for_programs(liftos: Run, ingestion: RecordingIngestion) -> None:
    """One document with the names of the contract."""
    ingestion.answers["GetQuota"] = pb.GetQuotaResponse(
        quotas=[run_pb2.Quota(platform="meta", scope="account", limit=100.0)]
    )
    outcome = liftos("runs", "quota", "--platform", "meta", "--json")
    assert json.loads(outcome.stdout) == {
        "quotas": [{"platform": "meta", "scope": "account", "limit": 100.0}]
    }
    assert ingestion.seen["GetQuota"].platform == "meta"


def test_times_of_a_schedule_are_by_its_clock(liftos: Run, ingestion: RecordingIngestion) -> None:
    """As people wrote it: in the zone, on both sides of daylight saving."""
    schedule = schedule_pb2.Schedule(
        name="orgs/demo/schedules/daily",
        display_name="Daily",
        cron="15 6 * * *",
        time_zone="Europe/Berlin",
    )
    for text in ("2026-10-24T04:15:00Z", "2026-10-25T05:15:00Z"):
        schedule.next_run_times.add().FromJsonString(text)
    ingestion.answers["GetSchedule"] = pb.GetScheduleResponse(schedule=schedule)
    ingestion.answers["ListSchedules"] = pb.ListSchedulesResponse(schedules=[schedule])
    first, second = "2026-10-24 06:15 Europe/Berlin", "2026-10-25 06:15 Europe/Berlin"
    assert f"{first}, {second}" in liftos("schedules", "get", "daily").stdout
    assert first in liftos("schedules", "list").stdout


def test_a_credential_is_told_in_words(liftos: Run, ingestion: RecordingIngestion) -> None:
    """Where it is, what it has and until when; never what is in it."""
    connection = connection_pb2.Connection(name=_SHOP, display_name="Shop", platform="meta")
    connection.accounts.add(account_id="1")
    credential = connection.credential
    credential.kind = connection_pb2.CREDENTIAL_KIND_STORED
    credential.field_names.extend(["access_token", "app_id"])
    credential.key_id = "k1"
    credential.expire_time.FromJsonString("2026-12-01T00:00:00Z")
    ingestion.answers["GetConnection"] = pb.GetConnectionResponse(connection=connection)
    outcome = liftos("connections", "get", "shop")
    assert (
        "STORED (access_token, app_id), encrypted with the key k1, ends 2026-12-01T00:00:00Z\n"
    ) in outcome.stdout
    assert "It has 1 account; see `liftos connections accounts shop`." in outcome.stderr


@pytest.mark.parametrize(
    ("words", "method"),
    [
        ("connections delete shop", "DeleteConnection"),
        ("schedules delete daily", "DeleteSchedule"),
        ("sources delete weather", "DeleteSource"),
    ],
)
def test_nothing_is_deleted_unasked(
    liftos: Run, ingestion: RecordingIngestion, words: str, method: str
) -> None:
    """Where nobody can be asked, --yes says it."""
    refused = liftos(*words.split())
    assert (refused.exit_code, method in ingestion.seen) == (2, False)
    assert "add --yes" in refused.stderr
    assert liftos(*words.split(), "--yes").exit_code == 0
    assert method in ingestion.seen
