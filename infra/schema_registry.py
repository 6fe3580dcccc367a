"""Schema ids from a Confluent-compatible registry, kept on disk, so that it is asked only once.

Ids never change, so a process that has met its schemas starts and runs without the registry.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cachetools import TTLCache
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.avro_types import AvroSchema, record_schema
from schemas.failures import Unavailable
from schemas.topics import Topic

_LOG = logging.getLogger(__name__)

NOT_FOUND = frozenset((40401, 40402, 40403, 404))
COMPATIBILITY = "FULL_TRANSITIVE"
UNKNOWN_S = 5.0
UNKNOWN_MAX = 100_000


class Incompatible(Exception):
    """A schema changed in a way that readers or writers of older records can't follow."""


class SchemaRegistry:
    """Implements `schemas.wire.SchemaIds`. Thread-safe.

    `cache_file` holds what this registry said before; it must go with the registry's data, since
    a registry that was emptied gives other ids. `timeout_ms` bounds the wait for one answer.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_file: Path | None = None,
        timeout_ms: int = 5000,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.url = url
        self._client = SchemaRegistryClient(
            {"url": url, "timeout": timeout_ms / 1000, "max.retries": 0, **(options or {})}
        )
        self._cache_file = cache_file
        self._lock = threading.Lock()
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, AvroSchema] = {}
        self._unknown: TTLCache[int, bool] = TTLCache(UNKNOWN_MAX, UNKNOWN_S)
        self._load()

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.url})"

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        """The id of a schema that is registered under a subject.

        Raises `Unavailable` while the registry is away or does not have it (yet).
        """
        text = json.dumps(schema)
        place = f"{subject} {text}"
        known = self._ids.get(place)
        if known is not None:
            return known
        try:
            found = self._client.lookup_schema(subject, Schema(text, "AVRO"))
        except SchemaRegistryError as error:
            if error.error_code in NOT_FOUND:
                message = f'{subject} is not registered: run "parley topics apply"'
                raise Unavailable(message) from error
            raise self._away(error) from error
        except Exception as error:
            raise self._away(error) from error
        self._remember(place, int(found.schema_id), schema)
        return int(found.schema_id)

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        """The schema of an id; None if the registry has none of this id.

        That is taken for true for some seconds: whoever writes with another registry writes
        thousands of records, and asking for each would take longer than their batch may.
        """
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        with self._lock:
            if schema_id in self._unknown:
                return None
        try:
            found = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.error_code in NOT_FOUND:
                with self._lock:
                    self._unknown[schema_id] = True
                return None
            raise self._away(error) from error
        except Exception as error:
            raise self._away(error) from error
        # Another kind of schema is known, and is no record of ours.
        is_avro = (found.schema_type or "AVRO") == "AVRO"
        schema: AvroSchema = json.loads(found.schema_str or "null") if is_avro else {}
        self._remember("", schema_id, schema)
        return schema

    def register(self, topics: Sequence[Topic]) -> int:
        """Registers the schemas of topics, compatible for ever. Returns how many there are.

        Raises `Incompatible` for one that an earlier version rules out.
        """
        count = 0
        for topic in topics:
            for record in topic.records:
                self._register(topic.subject(record), record_schema(record))
                count += 1
        return count

    def _register(self, subject: str, schema: AvroSchema) -> None:
        text = json.dumps(schema)
        try:
            with contextlib.suppress(SchemaRegistryError):
                self._client.set_compatibility(subject, COMPATIBILITY)
            schema_id = self._client.register_schema(subject, Schema(text, "AVRO"))
            self._client.set_compatibility(subject, COMPATIBILITY)
        except SchemaRegistryError as error:
            if error.http_status_code == 409:
                message = f"{subject} changed incompatibly: {error.error_message}"
                raise Incompatible(message) from error
            raise self._away(error) from error
        except Exception as error:
            raise self._away(error) from error
        self._remember(f"{subject} {text}", schema_id, schema)

    def _away(self, error: Exception) -> Unavailable:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return Unavailable(
            f"the schema registry at {self.url} does not answer: {reason}; check registry.url"
        )

    def _remember(self, place: str, schema_id: int, schema: AvroSchema) -> None:
        with self._lock:
            if place:
                self._ids[place] = schema_id
            self._schemas[schema_id] = schema
            self._save()

    def _load(self) -> None:
        if self._cache_file is None:
            return
        try:
            kept = json.loads(self._cache_file.read_text())
            self._ids = dict(kept["ids"])
            self._schemas = {int(i): schema for i, schema in kept["schemas"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Only a cache: what can't be read is asked for again.
            self._ids, self._schemas = {}, {}

    def _save(self) -> None:
        if self._cache_file is None:
            return
        folder, draft = self._cache_file.parent, None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, suffix=".new") as new:
                draft = Path(new.name)
                json.dump({"ids": self._ids, "schemas": self._schemas}, new)
            os.replace(draft, self._cache_file)
        except OSError as error:
            _LOG.warning(
                "schema ids can't be kept in %s (%s): the next process asks the registry again",
                self._cache_file,
                error.strerror,
            )
            if draft is not None:
                with contextlib.suppress(OSError):
                    draft.unlink()
