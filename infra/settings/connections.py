"""Settings of what Parley connects to: Kafka, the registry, Redis, ClickHouse and the key store.

Every option of the client libraries passes through, so TLS and SASL need nothing of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SecretStr

from infra.settings.options import ClientOptions, NestedClientOptions
from infra.settings.section import Section, setting

_KEPT_UNDERSCORES = frozenset({"ssl_ca", "ssl_certificate", "ssl_key"})
"""The librdkafka options that are written with an underscore."""


def _librdkafka_options(given: Any) -> Any:
    """Accepts numbers and booleans as values, and underscores for dots in names.

    An environment variable cannot carry a dot in most shells, so
    `PARLEY_KAFKA__OPTIONS__SECURITY_PROTOCOL` has to mean `security.protocol`.
    """
    if not isinstance(given, dict):
        return given
    return {
        (name if name in _KEPT_UNDERSCORES else str(name).replace("_", ".")): (
            str(value).lower() if isinstance(value, bool) else str(value)
        )
        for name, value in given.items()
    }


LibrdkafkaOptions = Annotated[dict[str, str], BeforeValidator(_librdkafka_options)]


class KafkaSettings(Section):
    """The log."""

    bootstrap_servers: str = setting("127.0.0.1:9092", "brokers to ask first", "host:port,…")
    options: LibrdkafkaOptions = setting({}, "librdkafka options for every client")
    consumer_options: LibrdkafkaOptions = setting({}, "librdkafka options for consumers, on top")
    producer_options: LibrdkafkaOptions = setting({}, "librdkafka options for producers, on top")
    admin_options: LibrdkafkaOptions = setting({}, "librdkafka options for admin clients, on top")
    replication_factor: int = setting(1, "copies of each topic that apply creates", ge=1)

    def _client(self, extra: dict[str, str]) -> dict[str, str]:
        return {"bootstrap.servers": self.bootstrap_servers, **self.options, **extra}

    def consumer(self) -> dict[str, str]:
        """The address and options a consumer starts from."""
        return self._client(self.consumer_options)

    def producer(self) -> dict[str, str]:
        """The address and options a producer starts from."""
        return self._client(self.producer_options)

    def admin(self) -> dict[str, str]:
        """The address and options an admin client starts from.

        It keeps quiet unless told otherwise: what is wrong is said by the calls that fail.
        """
        return {"log_level": "0", **self._client(self.admin_options)}


class RegistrySettings(Section):
    """The schema registry, Confluent-compatible."""

    url: str = setting("http://127.0.0.1:8081", "address of the registry's Confluent API", "URL")
    options: ClientOptions = setting(
        {}, "options of confluent_kafka's registry client, such as basic.auth.user.info"
    )
    cache_dir: Path | None = setting(None, "known schema ids are kept here across restarts")
    timeout_ms: int = setting(5000, "longest wait for one answer", "ms", ge=1)


class RedisSettings(Section):
    """The read models of frontends."""

    url: str = setting("redis://127.0.0.1:6379/0", "address and database", "URL")
    password: SecretStr | None = setting(None, "password, if it is not in the address")
    username: str | None = setting(None, "user, if it is not in the address")
    options: ClientOptions = setting(
        {}, "options of redis-py's connection and its pool, such as ssl_*"
    )


class ClickHouseSettings(Section):
    """The tables of analysts."""

    url: str = setting("http://127.0.0.1:8123", "address of ClickHouse's HTTP interface", "URL")
    user: str = setting("default", "user")
    password: SecretStr | None = setting(None, "password")
    database: str = setting("parley", "database that holds tables and views")
    options: NestedClientOptions = setting({}, "options of clickhouse_connect.get_client")


class KeySettings(Section):
    """The key store and sealing."""

    url: str = setting("", "SQLAlchemy address; SQLite in the data folder if none", "URL")
    master_key: SecretStr | None = setting(
        None, "wraps all other keys", "32 bytes as hex or base64"
    )
    master_key_file: Path | None = setting(None, "holds the master key; made at first use")
    sealing: Literal["on", "off"] = setting("on", "off leaves all text in the clear, for tests")
    cache_size: int = setting(20_000, "keys and subjects that a process remembers", ge=1)
    revalidate_ms: int = setting(
        60_000, "an erased key is forgotten by every process within this time", "ms", ge=10
    )
    timeout_ms: int = setting(5000, "longest wait for the store", "ms", ge=1)
