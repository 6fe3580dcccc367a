"""Settings of how Parley behaves: gateway, conversation, answering, inference, state, stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from infra.settings.section import Section, Words, setting, split_words


class AuthSettings(Section):
    """Who may come in."""

    dev_secret_file: Path | None = setting(None, "HS256 key of the local stack; made at first use")
    jwks_url: str | None = setting(None, "keys of the identity provider; replaces the local key")
    jwks_cache_ms: int = setting(300_000, "keys are asked for again after this time", "ms", ge=1)
    issuer: str = setting("parley-dev", "the only accepted `iss`")
    audience: str = setting("parley", "the only accepted `aud`")
    algorithms: Words = setting(
        ("RS256", "ES256", "EdDSA"), "accepted algorithms of the identity provider"
    )
    leeway_ms: int = setting(5000, "tolerated difference of clocks", "ms", ge=0)


class GatewaySettings(Section):
    """The door for frontends."""

    host: str = setting("127.0.0.1", "interface to listen on")
    port: int = setting(8080, "port to listen on; 0 takes a free one", ge=0, le=65535)
    url: str | None = setting(None, "where clients find the gateway, if not at host and port")
    allowed_origins: Words = setting((), "browser origins besides the gateway's own")
    frame_bytes: int = setting(65_536, "largest frame", "bytes", ge=1024)
    text_bytes: int = setting(32_768, "largest text of a message", "bytes", ge=1)
    subscriptions: int = setting(32, "conversations of one socket", ge=1)
    commands_per_s: float = setting(20.0, "commands of one subject, sustained", "1/s", gt=0)
    burst: int = setting(40, "commands of one subject, at once", ge=1)
    sockets_per_user: int = setting(5, "open sockets of one subject", ge=1)
    ping_ms: int = setting(25_000, "a ping is sent this often", "ms", ge=10)
    pong_ms: int = setting(10_000, "time to answer a ping", "ms", ge=10)
    hello_ms: int = setting(10_000, "time from the upgrade to hello", "ms", ge=10)
    token_merge_ms: int = setting(40, "tokens of one answer are merged for this long", "ms", ge=0)
    token_merge_bytes: int = setting(4096, "tokens are sent at this size at the latest", "bytes")
    unsent_bytes: int = setting(262_144, "held for a slow client", "bytes", ge=4096)
    stalled_ms: int = setting(30_000, "a client without progress is cut off", "ms", ge=10)
    drain_ms: int = setting(5000, "time over which clients are sent away at shutdown", "ms", ge=0)
    produce_ms: int = setting(10_000, "longest wait for Kafka's acknowledgement", "ms", ge=1)

    @property
    def client_url(self) -> str:
        """Where a client finds the gateway."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")


class ConversationSettings(Section):
    """The rules of a conversation; a tenant's configuration goes first."""

    analysis_deadline_ms: int = setting(
        2000, "then the turn starts on recogniser-only redaction", "ms", ge=1
    )
    turn_deadline_ms: int = setting(60_000, "no turn stays open longer", "ms", ge=1)
    second_message: Literal["queue", "interrupt"] = setting(
        "queue", "what a message does while a turn is open"
    )
    queued_messages_max: int = setting(8, "messages that wait behind an open turn", ge=1)


class AnsweringSettings(Section):
    """Who writes the answers."""

    provider: Literal["grounded", "openai"] = setting("grounded", "who answers")
    base_url: str = setting("https://api.openai.com/v1", "OpenAI-compatible address", "URL")
    api_key: SecretStr | None = setting(None, "key of the provider")
    model: str = setting("gpt-5-mini", "model name of the provider")
    price_input_usd: float = setting(0.0, "per million input tokens", "USD", ge=0)
    price_output_usd: float = setting(0.0, "per million output tokens", "USD", ge=0)
    connect_timeout_ms: int = setting(3000, "longest wait for a connection", "ms", ge=1)
    first_token_timeout_ms: int = setting(10_000, "longest wait for the first piece", "ms", ge=1)
    idle_timeout_ms: int = setting(15_000, "longest wait between two pieces", "ms", ge=1)
    max_output_tokens: int = setting(800, "longest answer", "tokens", ge=1)
    temperature: float = setting(0.2, "sampling temperature", ge=0, le=2)
    pace_ms: float = setting(0.0, "pause between pieces of grounded answers", "ms", ge=0)
    concurrency: int = setting(64, "turns answered at once by a process", ge=1)
    history_turns: int = setting(6, "recent turns given to the model", "turns", ge=0)
    history_wait_ms: int = setting(300, "longest wait for a lagging Redis view", "ms", ge=0)
    passages: int = setting(3, "passages given to the model", ge=1)
    fallback: bool = setting(True, "a failing provider falls back to the grounded answerer")


class InferenceSettings(Section):
    """Where the models run."""

    providers: Annotated[
        tuple[Literal["tensorrt", "cuda", "coreml", "cpu"], ...],
        NoDecode,
        BeforeValidator(split_words),
    ] = setting(
        ("tensorrt", "cuda", "cpu"), "devices in order of preference; absent ones are skipped"
    )
    model_cache: Path | None = setting(None, "folder of downloaded and exported models")
    threads: int = setting(1, "threads of one session", ge=1)
    batch_tokens_max: int = setting(4096, "padded tokens of one batch", "tokens", ge=128)
    sequence_tokens_max: int = setting(256, "longer texts are cut", "tokens", ge=8, le=512)


class StateSettings(Section):
    """Where a stage keeps folded conversations."""

    store: Literal["memory", "rocksdb"] = setting("memory", "in memory, or on disk as well")
    dir: Path | None = setting(None, "folder of the stores on disk")


class StageSettings(Section):
    """How stages read the log."""

    group_protocol: Literal["classic", "consumer"] = setting(
        "consumer", "consumer is KIP-848, which Kafka has from 4.0 on; classic works everywhere"
    )
    session_timeout_ms: int = setting(6000, "a silent worker is replaced", "ms", ge=100)
    heartbeat_ms: int = setting(1000, "heartbeats of the classic protocol", "ms", ge=10)
    batch_max: int = setting(20_000, "records of one batch at most", ge=1)
    pace_ms: int = setting(15, "busy conversations are decided at this distance", "ms", ge=0)
    linger_ms: float = setting(0.0, "producers wait for more records", "ms", ge=0)
    transaction_timeout_ms: int = setting(10_000, "open transactions end", "ms", ge=1000, le=15_000)
    progress_ms: int = setting(
        30_000, "a stage with lag that commits nothing for this long exits", "ms", ge=100
    )


class TelemetrySettings(Section):
    """Traces, metrics and logs."""

    exporter: Literal["none", "otlp", "file"] = setting("none", "where spans go")
    endpoint: str = setting(
        "http://127.0.0.1:4318/v1/traces", "OTLP over HTTP, for the exporter otlp", "URL"
    )
    headers: dict[str, SecretStr] = setting({}, "headers of the OTLP exporter")
    trace_dir: Path | None = setting(None, "folder of the exporter file")
    file_bytes_max: int = setting(67_108_864, "a trace file starts over", "bytes", ge=65_536)
    sample_ratio: float = setting(1.0, "share of the traces that is kept", ge=0, le=1)
    host: str = setting("127.0.0.1", "interface of healthz, readyz and metrics")
    port: int = setting(0, "port of healthz, readyz and metrics; 0 takes a free one", ge=0)
    tenants_max: int = setting(200, "tenants with a label of their own in metrics", ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "least severity")
    log_format: Literal["auto", "plain", "json"] = setting(
        "auto", "auto is plain on a terminal and JSON lines elsewhere"
    )
