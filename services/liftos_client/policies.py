"""The shipped service config: which methods are retried, and how long each may take.

`service_config.json` is a gRPC service config as any client of the contract can use it. Two of its
words are read here as well: a method with a `retryPolicy` may be sent twice, and `timeout` is the
default of a call. gRPC takes the smaller of `timeout` and the call's own, so the channel is given
the config without it; a caller may then also ask for more time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Policy:
    """How one method is called.

    Attributes:
        method: Its full name, `liftos.memory.v1.MemoryService/GetEntry`.
        timeout_seconds: Deadline of a call that sets none; None is no deadline.
        repeatable: True where sending the same request twice does no harm.
    """

    method: str
    timeout_seconds: float | None
    repeatable: bool


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The shipped config, read once per client.

    Attributes:
        channel_json: For the channel option `grpc.service_config`.
        methods: The entry of `methodConfig` of each full method name.
    """

    channel_json: str
    methods: Mapping[str, Mapping[str, Any]]

    def policies(self, service: ServiceDescriptor) -> dict[type[Message], Policy]:
        """Return the policy of each method of a service by the class of its requests."""
        return {
            message_factory.GetMessageClass(method.input_type): self._policy(
                f"{service.full_name}/{method.name}"
            )
            for method in service.methods
        }

    def _policy(self, method: str) -> Policy:
        entry = self.methods.get(method, {})
        timeout = entry.get("timeout")
        return Policy(
            method=method,
            timeout_seconds=None if timeout is None else float(timeout.removesuffix("s")),
            repeatable="retryPolicy" in entry,
        )


def read_service_config() -> ServiceConfig:
    """Read the config that is shipped with the package."""
    text = resources.files("liftos_client").joinpath("service_config.json").read_text("utf-8")
    config: dict[str, Any] = json.loads(text)
    methods = {
        f"{name['service']}/{name['method']}": entry
        for entry in config["methodConfig"]
        for name in entry["name"]
    }
    retried = [
        {"name": entry["name"], "retryPolicy": entry["retryPolicy"]}
        for entry in config["methodConfig"]
        if "retryPolicy" in entry
    ]
    return ServiceConfig(
        channel_json=json.dumps({**config, "methodConfig": retried}),
        methods=MappingProxyType(methods),
    )
