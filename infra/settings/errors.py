"""The one error of settings, which lists everything that is wrong at once."""

from __future__ import annotations


class SettingsInvalid(ValueError):
    """Settings that cannot be used. `problems` holds one sentence for each, without values."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
