"""Export as JSON: the recommendation itself."""

from __future__ import annotations

import json

from sweeper.results.export.setting import Setting


def render(setting: Setting) -> str:
    """Everything that is known of the setting."""
    return json.dumps(setting.found, indent=2)
