"""The schema registry part: Apicurio with a Confluent-compatible API, its schemas in Kafka."""

from __future__ import annotations

from collections.abc import Mapping

from infra.local import kafka
from infra.local.artifacts import Artifacts
from infra.local.java import class_path, java_command
from infra.local.part import Part, PartFactory, Site
from infra.local.ports import HOST
from infra.local.ready import http_answers

NAME = "registry"
USUAL_PORT = 8081
USUAL_HEALTH_PORT = 9001

SETTINGS: Mapping[str, str] = {
    "quarkus.http.host": HOST,
    "quarkus.management.host": HOST,
    "quarkus.banner.enabled": "false",
    "quarkus.log.level": "WARN",
    "quarkus.log.console.level": "WARN",
    "quarkus.http.access-log.enabled": "false",
    "apicurio.storage.kind": "kafkasql",
    # It waits this long, several times, for records that a new or small journal does not hold;
    # with the default of 5 s that is two thirds of its boot. Only this poll gets shorter: the
    # whole journal is read before the registry says that it is ready.
    "apicurio.kafkasql.consumer.poll.timeout": "300",
}
"""The registry's settings, but for addresses."""


def registry(artifacts: Artifacts, heap_mb: int = 192) -> PartFactory:
    """The factory of the registry part; its address is the base of the Confluent API."""

    def build(site: Site) -> Part:
        port = site.ports.take(NAME, USUAL_PORT)
        health_port = site.ports.take("registry-health", USUAL_HEALTH_PORT)
        home = site.folder.home(NAME)
        api = f"http://{HOST}:{port}/apis/ccompat/v7"
        health = f"http://{HOST}:{health_port}/health/ready"
        return Part(
            name=NAME,
            version=artifacts.registry_version,
            argv=java_command(
                artifacts.java,
                heap_mb=heap_mb,
                class_path=class_path(artifacts.registry / "quarkus-run.jar"),
                main="io.quarkus.bootstrap.runner.QuarkusEntryPoint",
                properties={
                    **SETTINGS,
                    "quarkus.http.port": str(port),
                    "quarkus.management.port": str(health_port),
                    "apicurio.kafkasql.bootstrap.servers": site.addresses[kafka.NAME],
                    "java.io.tmpdir": str(home),
                },
            ),
            log_path=site.log_path(NAME),
            cwd=home,
            address=api,
            needs=(kafka.NAME,),
            # The API answers before the journal has been read; the health check does not.
            ready=lambda: http_answers(health) and http_answers(f"{api}/subjects"),
            ready_timeout_s=120,
            stop_timeout_s=10,
        )

    return build
