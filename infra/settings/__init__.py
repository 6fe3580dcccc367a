"""Settings of every process: one typed object from defaults, files, environment and arguments.

How a part uses its settings is left to the part.
"""

from infra.settings.errors import SettingsInvalid
from infra.settings.listing import SettingRow
from infra.settings.loading import Settings, load_settings

__all__ = ["SettingRow", "Settings", "SettingsInvalid", "load_settings"]
