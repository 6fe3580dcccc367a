"""Prepares the demo's stack: settings, parts, and the knowledge of both tenants."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from infra.inference.artifacts import WEIGHTS_SHA256
from infra.knowledge_files import read_knowledge
from infra.local import Stack, StackStatus, State
from infra.local.data_folder import open_folder
from infra.settings import Settings
from parley.demo.customers import BANK, GROCER
from parley.demo.screen import Broken, Screen
from parley.knowledge_import import import_documents
from parley.local_stack import detach, fetch_everything
from parley.part_table import Changes, part_table
from parley.progress import counting
from parley.terminal import err
from parley.wiring import Wiring
from schemas.topics import KNOWLEDGE as KNOWLEDGE_TOPIC

KNOWLEDGE = Path(__file__).parent / "knowledge"
WANTED = ("kafka", "redis", "worker-talk", "worker-think", "analytics", "gateway")
"""What has to be ready before customers come; at later starts nobody waits for the registry."""
SETTINGS = """\
# Written by the demo; yours to change.
[answering]
# Grounded answers are there in milliseconds: this slows them down for people who watch.
pace_ms = 40.0
"""


def start(screen: Screen, data_dir: Path) -> Future[StackStatus] | None:
    """Starts the stack, or takes the one that runs; the result ends when every part is ready.

    Raises what `parley up` raises.
    """
    fetch_everything(data_dir)
    folder = open_folder(data_dir)
    settings = folder.path / "settings.toml"
    if not settings.exists():
        settings.write_text(SETTINGS)
    if Stack(folder.path).status().running:
        screen.say("it runs already")
        return None
    return _begin(folder.path)


def _begin(data_dir: Path) -> Future[StackStatus]:
    pool = ThreadPoolExecutor(1, "stack")
    changes = Changes(err(), data_dir)
    ready = Event()

    def on_change(status: StackStatus) -> None:
        if not ready.is_set():
            changes(status)
        if _ready(status):
            ready.set()

    starting = pool.submit(detach, data_dir, on_change)
    starting.add_done_callback(lambda _: ready.set())
    pool.shutdown(wait=False)
    ready.wait()
    if starting.done():
        starting.result()
    return starting


def _ready(status: StackStatus) -> bool:
    ready = {part.name for part in status.parts if part.state is State.READY}
    return status.running and ready.issuperset(WANTED)


def show_parts(screen: Screen, data_dir: Path, starting: Future[StackStatus] | None) -> None:
    """Waits for the last part and shows all of them. Raises `Broken` if one is not ready."""
    if starting is not None:
        starting.result()
    status = Stack(data_dir).status()
    if status.state is not State.READY:
        raise Broken(f"the stack is {status.state}: look at {data_dir / 'logs'}")
    screen.console.print(part_table(status, data_dir))


def bring_knowledge(screen: Screen, settings: Settings) -> None:
    """Imports the articles of both tenants, unless the log has just these already."""
    wiring = Wiring(settings, "demo")
    known = settings.data_dir / "demo-knowledge"
    mark = _mark(wiring)
    if known.exists() and known.read_text() == mark:
        screen.say("the log has the articles of both tenants from the last time")
        return
    for tenant in (BANK, GROCER):
        documents = read_knowledge(KNOWLEDGE / tenant)
        with counting() as bar:
            task = bar.add_task(f"embedding for {tenant}", total=len(documents))
            advance = partial(bar.advance, task)
            done = import_documents(wiring, tenant, documents, advance)
        screen.say(f"{tenant}: {done.documents} articles, {done.passages} passages embedded")
    known.write_text(mark)


def _mark(wiring: Wiring) -> str:
    """Changes with the articles, the model and the log."""
    log_id = wiring.topic_id(KNOWLEDGE_TOPIC.name)
    digest = hashlib.sha256(f"{WEIGHTS_SHA256} {log_id}".encode())
    for path in sorted(KNOWLEDGE.rglob("*.md")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
