"""Parley's own parts of the embedded stack: two workers, analytics and the gateway.

Each is `parley worker|analytics|gateway` in a process of its own. Topics and schemas are applied
once, when the first of them is about to start.
"""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from infra.local import Artifacts, Part, PartFactory, PartFailed, Site, StackError, three_parts
from infra.local.ports import HOST
from infra.settings import load_settings
from schemas.failures import Unavailable

ANALYTICS, GATEWAY = "analytics", "gateway"
WORKERS: Mapping[str, str] = {
    "worker-talk": "conversation,redis",
    "worker-think": "analysis,answering",
}
"""Each worker's stages. Inference keeps a core busy, so it shares no process with the fast ones."""
SQL = "clickhouse"
"""The name of analytics' SQL port, and of its address in `stack.json`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which processes of ours a stack has. `program` is what runs each, with its arguments."""

    workers: Mapping[str, str] = field(default_factory=lambda: WORKERS)
    gateways: Sequence[str] = (GATEWAY,)
    program: Sequence[str] = (sys.executable, "-m", "parley")


_USUAL = {"worker-talk": 9101, "worker-think": 9102, ANALYTICS: 9103, GATEWAY: 8080, SQL: 8123}
_EXTERNAL = {
    "kafka": "kafka.bootstrap_servers",
    "registry": "registry.url",
    "redis": "redis.url",
}
"""The setting that, where somebody gave it, stands for a part that need not be started."""


def health_port_name(part: str) -> str:
    """The name that the port for health and metrics of a part is remembered under."""
    return f"{part}-health"


def embedded_parts(
    artifacts: Artifacts, data_dir: Path, layout: Layout | None = None
) -> list[PartFactory]:
    """All parts, in the order of their needs. Parts that the settings name elsewhere are left out.

    Raises:
        StackError: Kafka is elsewhere and the registry is not, or the other way round.
    """
    settings = load_settings(data_dir)
    elsewhere = {
        part
        for part, path in _EXTERNAL.items()
        if settings.origin(path) not in ("default", "stack.json")
    }
    if len(elsewhere & {"kafka", "registry"}) == 1:
        raise StackError(
            "Kafka and the schema registry belong together: "
            "set both kafka.bootstrap_servers and registry.url, or neither"
        )
    named = zip(_EXTERNAL, three_parts(artifacts), strict=True)
    first = [factory for name, factory in named if name not in elsewhere]
    needs = tuple(name for name in _EXTERNAL if name not in elsewhere)
    layout = layout or Layout()
    ours = _Ours(layout.program, _Preparation(data_dir, needs))
    workers = [ours.worker(name, stages) for name, stages in layout.workers.items()]
    own_sql = settings.origin("clickhouse.url") in ("default", "stack.json")
    gateways = [ours.gateway(name) for name in layout.gateways]
    return [*first, *workers, ours.analytics(own_sql), *gateways]


PORT_NAMES = (
    "kafka",
    "kafka-controller",
    "registry",
    "registry-health",
    "redis",
    SQL,
    GATEWAY,
    *(health_port_name(name) for name in (*WORKERS, ANALYTICS)),
)


def insisted_ports(data_dir: Path) -> dict[str, int]:
    """The ports that somebody set, which are not exchanged for free ones."""
    settings = load_settings(data_dir)
    if settings.origin("gateway.port") == "default" or not settings.gateway.port:
        return {}
    return {GATEWAY: settings.gateway.port}


@dataclass(slots=True)
class _Preparation:
    """Applies topics and schemas once in the life of a stack, however many parts ask for it."""

    data_dir: Path
    local: tuple[str, ...]
    done: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    known: bool | None = None

    def needs(self, site: Site, *others: str) -> tuple[str, ...]:
        """The parts to wait for. Schema ids that are on disk spare the wait for the registry."""
        if self.known is None:
            self.known = "registry" in self.local and _schemas_known(self.data_dir, site)
        first = [name for name in self.local if not (name == "registry" and self.known)]
        return (*first, *others)

    def __call__(self) -> None:
        """Before a part starts. Raises `PartFailed` where the log is not as it must be."""
        with self.lock:
            if not self.done:
                self._apply()
                self.done = True

    def _apply(self) -> None:
        from infra.kafka_admin import KafkaAdminError
        from infra.schema_registry import Incompatible
        from parley.applying import alter_settings, apply, create_topics

        settings = load_settings(self.data_dir)
        work = create_topics if self.known else apply
        try:
            differences = work(settings).differences
            if differences and "kafka" in self.local:
                alter_settings(settings)
                differences = work(settings).differences
        except (KafkaAdminError, Incompatible, Unavailable) as error:
            raise PartFailed(str(error)) from error
        if differences:
            raise PartFailed("\n".join(differences))


def _schemas_known(data_dir: Path, site: Site) -> bool:
    from parley.applying import all_known, open_registry

    address = site.addresses.get("registry")
    return all_known(open_registry(load_settings(data_dir, registry__url=address)))


@dataclass(frozen=True, slots=True)
class _Ours:
    """Makes the factories of our own processes."""

    program: Sequence[str]
    preparation: _Preparation

    def worker(self, name: str, stages: str) -> PartFactory:
        def build(site: Site) -> Part:
            return self._part(site, name, ("worker", "--stages", stages))

        return build

    def analytics(self, own_sql: bool) -> PartFactory:
        def build(site: Site) -> Part:
            if not own_sql:
                return self._part(site, ANALYTICS, ("analytics",))
            port = site.ports.take(SQL, _USUAL[SQL])
            url = f"http://{HOST}:{port}"
            env = {"PARLEY_CLICKHOUSE__URL": url}
            part = self._part(site, ANALYTICS, ("analytics", "--embedded"), env)
            return replace(part, version=f"chDB {version('chdb')}", also_at={SQL: url})

        return build

    def gateway(self, name: str) -> PartFactory:
        def build(site: Site) -> Part:
            port = site.ports.take(name, _usual(name))
            env = {"PARLEY_GATEWAY__PORT": str(port)}
            return self._part(site, name, ("gateway",), env, port)

        return build

    def _part(
        self,
        site: Site,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> Part:
        """One process. It serves its health on `port`, or on a telemetry port of its own."""
        health = port or site.ports.take(health_port_name(name), _usual(name))
        own = _own_settings(site)
        if port is None:
            own["PARLEY_TELEMETRY__PORT"] = str(health)
        return Part(
            name=name,
            version=version("parley"),
            argv=(*self.program, *command, "--data", str(site.folder.path)),
            log_path=site.log_path(name),
            ready=_asks(f"http://{HOST}:{health}/readyz"),
            address=f"http://{HOST}:{port}" if port else "",
            needs=self.preparation.needs(site),
            env={**own, **(env or {}), "PYTHONUNBUFFERED": "1"},
            prepare=self.preparation,
            ready_timeout_s=120,
            stop_timeout_s=20,
        )


def _usual(name: str) -> int:
    return _USUAL.get(name, 0)


def _own_settings(site: Site) -> dict[str, str]:
    """Traces go into files that `parley trace` reads, unless somebody wants them elsewhere."""
    if load_settings(site.folder.path).origin("telemetry.exporter") == "default":
        return {"PARLEY_TELEMETRY__EXPORTER": "file"}
    return {}


def _asks(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ready
