"""Command lines of Java programs that should start fast and stay small."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def java_command(
    java: Path,
    *,
    heap_mb: int,
    class_path: str,
    main: str,
    properties: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """A JVM with a small heap, one garbage collector thread and the quick compiler alone.

    `class_path` may hold `folder/*`, as for `java -cp`.
    """
    return (
        str(java),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        # Compiled after a few calls: the quick compiler is cheaper than the interpreter so soon.
        "-XX:CompileThresholdScaling=0.2",
        f"-Xmx{heap_mb}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        # What the programs' own launchers allow: they load native codecs and reset thread locals.
        "--enable-native-access=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        *(f"-D{name}={value}" for name, value in (properties or {}).items()),
        "-cp",
        class_path,
        main,
        *arguments,
    )


def class_path(*entries: Path) -> str:
    """Jars, or folders of jars, as one class path."""
    return os.pathsep.join(f"{each}{os.sep}*" if each.is_dir() else str(each) for each in entries)


def properties_text(properties: Mapping[str, str]) -> str:
    """The content of a Java properties file."""
    escape = str.maketrans({"\\": "\\\\"})
    return "".join(f"{name}={value.translate(escape)}\n" for name, value in properties.items())
