"""What commands of routes ask a service, alike for alerts and insights."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.message import Message
from tests.inprocess.cli.recording_ingestion import RecordingService, serving
from typer.testing import CliRunner, Result

from liftos.ingestion.v1 import alert_pb2, ingestion_service_pb2
from liftos.memory.v1 import insight_pb2, memory_service_pb2
from liftos_cli.main import app
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError


@dataclass(frozen=True)
class Topic:
    """What one service tells, and what its routes have of their own.

    Attributes:
        noun: In lower case.
        messages: Of the service.
        service: Its name.
        variable: Has its address.
        route_type: Of its routes.
        typed: What is typed for a kind and a severity.
        sent: What goes out for them.
        severity_shown: What a list shows of that severity.
    """

    noun: str
    messages: ModuleType
    service: str
    variable: str
    route_type: type[Message]
    typed: tuple[str, str]
    sent: tuple[int, float]
    severity_shown: str


_TOPICS = {
    "alerts": Topic(
        noun="alert",
        messages=ingestion_service_pb2,
        service="IngestionService",
        variable="LIFTOS_INGESTION_TARGET",
        route_type=alert_pb2.AlertRoute,
        typed=("run_failed", "critical"),
        sent=(alert_pb2.ALERT_KIND_RUN_FAILED, alert_pb2.ALERT_SEVERITY_CRITICAL),
        severity_shown="CRITICAL",
    ),
    "insights": Topic(
        noun="insight",
        messages=memory_service_pb2,
        service="MemoryService",
        variable="LIFTOS_TARGET",
        route_type=insight_pb2.InsightRoute,
        typed=("anomaly", "40.5"),
        sent=(insight_pb2.INSIGHT_KIND_ANOMALY, 40.5),
        severity_shown="40.5",
    ),
}


class Routes:
    """Commands of routes against a service that answers as told."""

    def __init__(
        self,
        topic: Topic,
        service: RecordingService,
        run: Callable[[list[str], Mapping[str, str]], Result],
    ) -> None:
        self.topic = topic
        self._service = service
        self._run = run

    def __call__(self, *arguments: str, **variables: str) -> Result:
        return self._run([f"{self.topic.noun}s", "routes", *arguments], variables)

    def answer(self, verb: str, **fields: Any) -> None:
        """Have a method answered with a route."""
        fields["name"] = f"orgs/demo/{self.topic.noun}Routes/on-call"
        route = self.topic.route_type(**fields)
        self._answer(verb, **{f"{self.topic.noun}_route": route})

    def answer_list(self, **fields: Any) -> None:
        """Have the list answered with one route."""
        fields["name"] = f"orgs/demo/{self.topic.noun}Routes/on-call"
        route = self.topic.route_type(**fields)
        self._answer("List", **{f"{self.topic.noun}_routes": [route]})

    def answer_trial(self, **fields: Any) -> None:
        """Have a test answered."""
        self._answer("Test", **fields)

    def refuse(self, verb: str, refusal: InvalidFieldsError) -> None:
        """Have a method refused."""
        self._service.refusals[self._method(verb)] = refusal

    def asked(self, verb: str) -> Any:
        """Return the last request of a method; None where there was none."""
        return self._service.seen.get(self._method(verb))

    def route_asked(self, verb: str) -> Any:
        """Return the route in the last request of a method."""
        return getattr(self.asked(verb), f"{self.topic.noun}_route")

    def _answer(self, verb: str, **fields: Any) -> None:
        method = self._method(verb)
        response = getattr(self.topic.messages, f"{method}Response")
        self._service.answers[method] = response(**fields)

    def _method(self, verb: str) -> str:
        plural = "s" if verb == "List" else ""
        return f"{verb}{self.topic.noun.title()}Route{plural}"


@pytest.fixture(params=sorted(_TOPICS))
def routes(request: pytest.FixtureRequest) -> Iterator[Routes]:
    """Commands of one topic."""
    topic = _TOPICS[request.param]
    service = RecordingService(topic.messages.DESCRIPTOR.services_by_name[topic.service])
    with serving(service) as target:
        environment = {topic.variable: target, "LIFTOS_JWT_SECRET": "s" * 40}
        yield Routes(
            topic,
            service,
            lambda words, variables: CliRunner().invoke(
                app, words, env={**environment, **variables}
            ),
        )


def test_a_secret_address_comes_from_a_variable_and_is_not_shown(routes: Routes) -> None:
    """It is sent as it is, and the answer has none of it."""
    routes.answer("Create", display_name="On call", target_kind="slack")
    kind, severity = routes.topic.typed
    outcome = routes(
        *("create", "on-call", "--name", "On call", "--url-env", "URL"),
        *("--kind", kind, "--severity", severity, "--platform", "meta"),
        URL="slack://tokenA/tokenB",
    )
    assert (outcome.exit_code, outcome.stdout) == (0, "on-call: On call, sends by slack.\n")
    route = routes.route_asked("Create")
    assert route.name == f"orgs/demo/{routes.topic.noun}Routes/on-call"
    assert route.target_url == "slack://tokenA/tokenB"
    assert ([*route.kinds], route.minimum_severity) == (
        [routes.topic.sent[0]],
        routes.topic.sent[1],
    )
    assert list(route.platforms) == ["meta"]
    assert "token" not in outcome.output


def test_a_route_needs_an_address_from_one_place(routes: Routes, tmp_path: Path) -> None:
    """None, two, and a variable that is not set are errors of usage."""
    create = ("create", "on-call", "--name", "On call")
    file = tmp_path / "url"
    file.write_text("slack://a/b\n")
    assert "no address is given" in routes(*create).stderr
    both = routes(*create, "--url-env", "URL", "--url-file", str(file), URL="x")
    assert (both.exit_code, both.stderr.splitlines()[0]) == (
        2,
        "Error: --url-file and --url-env do not go together.",
    )
    assert routes(*create, "--url-env", "NOT_SET_ANYWHERE").exit_code == 2
    assert routes.asked("Create") is None


def test_a_refused_platform_is_told_by_its_option(routes: Routes) -> None:
    """The words are those of the service."""
    field = f"{routes.topic.noun}_route.platforms[0]"
    routes.refuse("Create", InvalidFieldsError([FieldViolation(field, "is unknown", "platform")]))
    outcome = routes(
        *("create", "on-call", "--name", "On call", "--url-env", "URL", "--platform", "mteta"),
        URL="slack://a/b",
    )
    assert (outcome.exit_code, outcome.stderr.splitlines()[0]) == (
        2,
        "Error: --platform: is unknown.",
    )


def test_routes_are_listed(routes: Routes) -> None:
    """What is not narrowed is all, and what sends nothing says so."""
    kind, severity = routes.topic.sent
    routes.answer_list(
        display_name="On call", target_kind="slack", kinds=[kind], minimum_severity=severity
    )
    listed = routes("list").stdout.splitlines()[1]
    assert listed.split()[:4] == ["on-call", "On", "call", "slack"]
    assert listed.split()[4:] == [routes.topic.typed[0].upper(), routes.topic.severity_shown, "all"]
    routes.answer_list(display_name="On call", target_kind="slack", disabled=True)
    assert routes("list").stdout.splitlines()[1].split()[3:] == ["nothing", "all", "all", "all"]


def test_an_update_sends_what_was_named_only(routes: Routes) -> None:
    """The mask has it alone, and the etag is the one that was read."""
    for verb in ("Get", "Update"):
        routes.answer(verb, display_name="On call", platforms=["meta"], etag="7")
    assert routes("update", "on-call", "--disable").exit_code == 0
    assert list(routes.asked("Update").update_mask.paths) == ["disabled"]
    route = routes.route_asked("Update")
    assert (route.disabled, route.etag, list(route.platforms)) == (True, "7", ["meta"])
    kind, severity = routes.topic.typed
    assert routes("update", "on-call", "--kind", kind, "--severity", severity).exit_code == 0
    assert list(routes.asked("Update").update_mask.paths) == ["kinds", "minimum_severity"]
    route = routes.route_asked("Update")
    assert ([*route.kinds], route.minimum_severity) == (
        [routes.topic.sent[0]],
        routes.topic.sent[1],
    )
    assert "nothing is named" in routes("update", "on-call").stderr


def test_an_address_is_encrypted_again_without_being_given(routes: Routes) -> None:
    """The mask names it, and the message has none."""
    for verb in ("Get", "Update"):
        routes.answer(verb, etag="7")
    assert routes("update", "on-call", "--reseal").exit_code == 0
    assert list(routes.asked("Update").update_mask.paths) == ["target_url"]
    route = routes.route_asked("Update")
    assert (route.target_url, route.etag) == ("", "7")


def test_a_route_goes_only_with_consent(routes: Routes) -> None:
    """Where nobody can be asked, it has to be said."""
    refused = routes("delete", "on-call")
    assert refused.stderr.splitlines() == [
        "Error: nothing was deleted.",
        "What to do: add --yes to delete it.",
    ]
    assert routes.asked("Delete") is None
    outcome = routes("delete", "on-call", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (0, "Deleted on-call.\n")
    assert routes.asked("Delete").name == f"orgs/demo/{routes.topic.noun}Routes/on-call"


def test_a_test_message_that_does_not_go_out_ends_with_1(routes: Routes) -> None:
    """The reason is printed."""
    routes.answer_trial(error="no such host")
    outcome = routes("test", "on-call")
    assert (outcome.exit_code, outcome.stdout) == (1, "It did not go out: no such host\n")
    routes.answer_trial(sent=True)
    assert routes("test", "on-call").stdout == "It went out.\n"
