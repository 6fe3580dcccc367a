"""Settings: who wins, what is refused, and that no secret is ever printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.settings import Settings, SettingsInvalid, load_settings
from infra.settings.layers import WELL_KNOWN


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PARLEY_") or name in WELL_KNOWN:
            monkeypatch.delenv(name)


def test_without_any_source_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.model_dump() == Settings(data_dir=tmp_path).model_dump()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert {row.origin for row in settings.listing() if row.path != "data_dir"} == {"default"}


def test_each_later_source_wins_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def servers() -> tuple[str, str]:
        settings = load_settings(tmp_path)
        return settings.kafka.bootstrap_servers, settings.origin("kafka.bootstrap_servers")

    (tmp_path / "stack.json").write_text(json.dumps({"kafka": "stack:1"}))
    assert servers() == ("stack:1", "stack.json")
    file = tmp_path / "settings.toml"
    file.write_text('[kafka]\nbootstrap_servers = "file:1"\n')
    assert servers() == ("file:1", f"file {file}")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "known:1")
    assert servers() == ("known:1", "environment")
    monkeypatch.setenv("PARLEY_KAFKA__BOOTSTRAP_SERVERS", "prefixed:1")
    assert servers() == ("prefixed:1", "environment")
    settings = load_settings(tmp_path, kafka__bootstrap_servers="argument:1")
    assert settings.kafka.bootstrap_servers == "argument:1"
    assert settings.origin("kafka.bootstrap_servers") == "argument"


def test_the_addresses_of_a_running_stack_are_found(tmp_path: Path) -> None:
    stack = {
        "kafka": "127.0.0.1:1",
        "registry": "http://127.0.0.1:2/apis/ccompat/v7",
        "redis": "redis://127.0.0.1:3/0",
        "clickhouse": "http://127.0.0.1:4",
        "gateway": "http://127.0.0.1:5",
        "version": 7,
    }
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    settings = load_settings(tmp_path)
    found = [
        settings.kafka.bootstrap_servers,
        settings.registry.url,
        settings.redis.url,
        settings.clickhouse.url,
        settings.gateway.client_url,
    ]
    assert found == [
        stack[part] for part in ("kafka", "registry", "redis", "clickhouse", "gateway")
    ]


@pytest.mark.parametrize(("name", "path"), WELL_KNOWN.items())
def test_well_known_names_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: tuple[str, str]
) -> None:
    monkeypatch.setenv(name, "somewhere:1")
    assert getattr(getattr(load_settings(tmp_path), path[0]), path[1]) == "somewhere:1"


def test_paths_lie_in_the_data_folder_unless_they_are_given(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, keys={"master_key_file": tmp_path / "elsewhere"})
    assert settings.keys.url == f"sqlite:///{tmp_path}/keys.db"
    assert settings.keys.master_key_file == tmp_path / "elsewhere"
    assert settings.auth.dev_secret_file == tmp_path / "dev-secret"
    assert settings.telemetry.trace_dir == tmp_path / "traces"


def test_the_data_folder_comes_from_argument_environment_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parley.toml"
    file.write_text(f'data_dir = "{tmp_path}/of-file"\n')
    monkeypatch.setenv("PARLEY_SETTINGS", str(file))
    assert load_settings().data_dir == tmp_path / "of-file"
    monkeypatch.setenv("PARLEY_DATA_DIR", f"{tmp_path}/of-environment")
    assert load_settings().data_dir == tmp_path / "of-environment"
    assert load_settings(tmp_path / "of-argument").data_dir == tmp_path / "of-argument"
    assert load_settings("relative").data_dir == Path.cwd() / "relative"


def test_any_librdkafka_option_passes_through_as_librdkafka_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text(
        '[kafka.options]\n"security.protocol" = "SASL_SSL"\n"socket.keepalive.enable" = true\n'
        '[kafka.consumer_options]\n"fetch.wait.max.ms" = 10\n'
    )
    monkeypatch.setenv("PARLEY_KAFKA__OPTIONS__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("PARLEY_KAFKA__PRODUCER_OPTIONS", '{"linger.ms": 5}')
    kafka = load_settings(tmp_path).kafka
    shared = {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "socket.keepalive.enable": "true",
        "sasl.password": "hunter2",
    }
    assert kafka.consumer() == {**shared, "fetch.wait.max.ms": "10"}
    assert kafka.producer() == {**shared, "linger.ms": "5"}
    assert kafka.admin() == {**shared, "log_level": "0"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("false", False),
        ("True", True),
        ("required", "required"),
        ("/etc/ca.pem", "/etc/ca.pem"),
        ('"3"', "3"),
        ("NaN", "NaN"),
        ("null", "null"),
        ("007", "007"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("section", ["REDIS", "CLICKHOUSE", "REGISTRY"])
def test_an_option_with_a_variable_of_its_own_is_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, written: str, said: object
) -> None:
    monkeypatch.setenv(f"PARLEY_{section}__OPTIONS__SOMETHING", written)
    (found,) = getattr(load_settings(tmp_path), section.lower()).options.values()
    assert (found, type(found)) == (said, type(said))


@pytest.mark.parametrize("name", ["PASSWORD", "USERNAME", "SSL_PASSWORD", "CLIENT_NAME"])
def test_a_credential_or_a_name_is_text_whatever_it_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for written in ("1234", "1e5", "true", '"quoted"'):
        monkeypatch.setenv(f"PARLEY_REDIS__OPTIONS__{name}", written)
        assert load_settings(tmp_path).redis.options == {name.lower(): written}


def test_an_option_of_a_file_or_of_json_has_the_type_that_it_has_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[redis.options]\ndb = 2\nencoding = "2"\npassword = 1234\n')
    monkeypatch.setenv("PARLEY_REDIS__OPTIONS", '{"port": 3, "host": "3", "ssl": true}')
    settings = load_settings(tmp_path)
    in_file = {"db": 2, "encoding": "2", "password": "1234"}
    assert settings.redis.options == {**in_file, "port": 3, "host": "3", "ssl": True}
    assert "1234" not in json.dumps(settings.masked())


def test_clickhouse_takes_groups_of_options_and_shows_no_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_CLICKHOUSE__OPTIONS__SETTINGS", '{"max_threads": 2}')
    monkeypatch.setenv("PARLEY_CLICKHOUSE__OPTIONS__HEADERS", '{"X-Door": "s3cret"}')
    settings = load_settings(tmp_path)
    assert settings.clickhouse.options["settings"] == {"max_threads": 2}
    assert settings.clickhouse.options["headers"] == {"X-Door": "s3cret"}
    shown = json.dumps(settings.masked())
    assert '"max_threads": 2' in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("written", ["https://a, https://b", '["https://a", "https://b"]'])
def test_lists_come_from_the_environment_with_commas_or_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("PARLEY_GATEWAY__ALLOWED_ORIGINS", written)
    assert load_settings(tmp_path).gateway.allowed_origins == ("https://a", "https://b")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PARLEY_KAFA__BOOTSTRAP_SERVERS", "did you mean kafka?"),
        ("PARLEY_KAFKA__BOOTSTRAP_SERVER", "did you mean bootstrap_servers?"),
        ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", "PARLEY_KAFKA__BOOTSTRAP_SERVERS"),
        ("PARLEY_TELEMETRY__OTLP_ENDPOINT", "did you mean endpoint?"),
        ("PARLEY_NOSUCH__X", "known are answering, auth, clickhouse,"),
        ("PARLEY_REGISTRY__NOSUCH", "known are cache_dir, options, timeout_ms, url"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path)
    assert hint in str(caught.value)


def test_a_misspelt_name_in_a_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        '[gatway]\nport = 1\n[stages]\nbatchmax = 2\n[kafka]\nreplication_factor = "many"\n'
    )
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path)
    assert len(caught.value.problems) == 3
    assert f"file {file}: no setting gatway; did you mean gateway?" in caught.value.problems
    assert f"file {file}: no setting stages.batchmax; did you mean batch_max?" in str(caught.value)
    assert "kafka.replication_factor" in str(caught.value)
    assert "many" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("settings.toml", "not toml"),
        ("settings.toml", "\xff"),
        ("stack.json", "{"),
        ("stack.json", "[]"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsInvalid, match=file):
        load_settings(tmp_path)


def test_a_settings_file_that_was_asked_for_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_SETTINGS", str(tmp_path / "absent.toml"))
    with pytest.raises(SettingsInvalid, match=r"absent\.toml"):
        load_settings(tmp_path)


def test_other_peoples_variables_are_none_of_our_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_TEST_POSTGRES_URL", "x")
    monkeypatch.setenv("KAFKA_HEAP_OPTS", "x")
    assert load_settings(tmp_path)


SECRETS = {
    "PARLEY_KEYS__MASTER_KEY": "s3cret-1",
    "PARLEY_ANSWERING__API_KEY": "s3cret-2",
    "PARLEY_REDIS__URL": "rediss://user:s3cret-3@cache:6380/0",
    "PARLEY_KAFKA__OPTIONS__SASL_PASSWORD": "s3cret-4",
    "PARLEY_KAFKA__OPTIONS__SSL_KEY_PEM": "s3cret-5",
    "PARLEY_REGISTRY__OPTIONS": '{"basic.auth.user.info": "me:s3cret-6"}',
    "PARLEY_CLICKHOUSE__PASSWORD": "s3cret-7",
    "PARLEY_CLICKHOUSE__URL": "https://ch:8443?user=me&password=s3cret-8",
    "PARLEY_TELEMETRY__HEADERS": '{"authorization": "Bearer s3cret-9"}',
    "KEY_STORE_URL": "postgresql://parley:s3cret-10@db/keys",
    "PARLEY_KAFKA__OPTIONS__SASL_JAAS_CONFIG": "password=s3cret-11",
    "PARLEY_REDIS__OPTIONS": '{"password": "s3cret-12", "ssl_ca_certs": "/etc/ca.pem"}',
    "PARLEY_REDIS__USERNAME": "reader",
}


def test_no_secret_is_ever_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    settings = load_settings(tmp_path)
    assert settings.redis.url.endswith("@cache:6380/0")
    listed = "\n".join(f"{row.path} {row.value}" for row in settings.listing())
    assert "s3cret" not in listed
    assert "s3cret" not in json.dumps(settings.masked())
    for kept in ("cache:6380", "/etc/ca.pem", "db/keys", "master.key", "user=me", "reader"):
        assert kept in listed


def test_an_invalid_secret_is_not_quoted_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_TELEMETRY__HEADERS", "s3cret {")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        Settings(kafka={"replication_factor": "s3cret"})  # type: ignore[arg-type]
    assert "s3cret" not in str(refused.value)


def test_every_field_says_what_it_is_for_and_times_and_sizes_have_a_unit(tmp_path: Path) -> None:
    for row in load_settings(tmp_path).listing():
        assert row.description, row.path
        if row.path.endswith("_ms"):
            assert row.unit == "ms", row.path
        if "_bytes" in row.path:
            assert row.unit == "bytes", row.path


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    with pytest.raises(ValidationError):
        settings.kafka.replication_factor = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.data_dir = tmp_path  # type: ignore[misc]
