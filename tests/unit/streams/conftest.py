"""The real parts that attempts and stages run on: encoder, knowledge, keys and a broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import Broker
from redis.asyncio import Redis
from stage_runs import Log, Run, answering, runs
from turn_parts import WIRES, MakeDesk, Person, Sent

from infra.inference.encoder import Encoder, load_encoder
from infra.keys import Sealer, open_sealer
from infra.providers import Provider
from infra.settings import Settings
from infra.telemetry.metrics import Metrics
from processors.answering.grounding import SHIPPED, GroundingModel
from processors.answering.importing import assemble, prepare
from processors.answering.retrieval import KnowledgeIndex
from schemas.topics import COMMANDS, TOKENS
from streams.answering.attempt import Desk
from streams.answering.history import History
from streams.answering.writer import Writer

NOBODY = "redis://127.0.0.1:1"
"""A Redis that is away."""


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="session")
def knowledge(encoder: Encoder) -> KnowledgeIndex:
    """A bank with one article."""
    drafted = prepare(
        "delivery",
        "Delivery of a card",
        "A new card arrives within 3 to 6 working days.",
        ["When does my card arrive?", "How long does the delivery of a card take?"],
    )
    vectors = encoder.encode(drafted.texts).embeddings
    article = assemble(drafted, vectors, tenant_id="demo", imported_at=0, model_digest="d")
    return KnowledgeIndex.build("demo", [article])


@pytest.fixture
def sealer(tmp_path: Path) -> Iterator[Sealer]:
    opened = open_sealer(Settings(data_dir=tmp_path).keys)
    yield opened
    opened.close()


@pytest.fixture
def alice(sealer: Sealer) -> Person:
    return Person(sealer)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def make_desk(encoder: Encoder, knowledge: KnowledgeIndex, sealer: Sealer, sent: Sent) -> MakeDesk:
    """The desk of an attempt at which a given provider writes."""

    def made(provider: Provider) -> Desk:
        writer = Writer(
            encoder,
            lambda tenant_id: knowledge,
            GroundingModel.parse(SHIPPED.read_text(encoding="utf-8")),
            provider,
            max_output_tokens=100,
            temperature=0.0,
        )
        return Desk(
            commands=WIRES[COMMANDS],
            tokens=WIRES[TOKENS],
            sealer=sealer,
            history=History(Redis.from_url(NOBODY), sealer, wait_ms=50),
            answerer=writer,
            out=sent,  # type: ignore[arg-type]
            metrics=Metrics(),
        )

    return made


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def log(broker: Broker) -> Log:
    return Log(broker)


@pytest.fixture
def run(log: Log, make_desk: MakeDesk, tmp_path: Path) -> Run:
    """Runs the answering stage with a given provider."""
    return runs(lambda provider: answering(make_desk(provider), log.broker, tmp_path))
