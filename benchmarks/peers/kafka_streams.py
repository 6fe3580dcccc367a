"""Kafka Streams on the JVM, for orientation: fetched, compiled once, and started by this module.

Everything but Kafka Streams itself and a compiler comes with the embedded stack: its Java is a
runtime without `javac`, so Eclipse's compiler, an ordinary jar, does that.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.local.artifacts import Artifacts, ensure, fetch, flatten
from infra.local.pins import Distribution, Pin
from infra.local.progress import Silent

JARS = Distribution(
    "kafka-streams-peer",
    "4.3.1",
    (
        Pin(
            "org.apache.kafka:kafka-streams:jar::4.3.1",
            "bd73f3805e116f711e8456ee89a8a5b43ff5dcf5a5bb865afae29deae89e7c4b",
            2277950,
        ),
        Pin(
            "org.eclipse.jdt:ecj:jar::3.44.0",
            "14c46ddc2e511c46c998da728f6a80f13a689c920f3832402f7ad150f6a6188d",
            3329741,
        ),
    ),
)
PROGRAM = Path(__file__).with_name("KafkaStreamsPeer.java")
COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"


def argv(file: Path, commit_ms: int) -> Sequence[str]:
    """The command of this contender on a job; the first call fetches and compiles."""
    stack = fetch()
    jars = ensure(JARS, stack.cache, flatten, Silent())
    path = _class_path(stack, jars)
    classes = _compiled(stack, jars, path)
    java = (str(stack.java), "-Xmx1g", "-XX:+UseSerialGC")
    return (*java, "-cp", f"{classes}:{path}", PROGRAM.stem, str(file), str(commit_ms))


def _class_path(stack: Artifacts, jars: Path) -> str:
    avro = next(stack.registry.rglob("org.apache.avro.avro-*.jar"))
    return ":".join(map(str, (*sorted(stack.kafka.glob("*.jar")), *jars.glob("*.jar"), avro)))


def _compiled(stack: Artifacts, jars: Path, path: str) -> Path:
    """The folder of the compiled program, made anew when the program has changed."""
    digest = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:16]
    classes = stack.cache / "benchmarks" / f"{PROGRAM.stem}-{digest}"
    if not classes.is_dir():
        compiler = next(jars.glob("ecj-*.jar"))
        options = ("-17", "-proc:none", "-cp", path, "-d", str(classes))
        java = (str(stack.java), "-cp", str(compiler), COMPILER)
        subprocess.run((*java, *options, str(PROGRAM)), check=True)
    return classes
