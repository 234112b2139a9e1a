"""Export as YAML: the recommendation itself, below its provenance in words."""

from __future__ import annotations

import json

from sweeper import spec_file
from sweeper.results.export.provenance import comment
from sweeper.results.export.setting import Setting


def render(setting: Setting) -> str:
    """Everything that is known of the setting; `config` can stand in a spec as a baseline."""
    lines = "".join(f"# {line}".rstrip() + "\n" for line in comment(setting.found))
    return lines + spec_file.dump(json.loads(json.dumps(setting.found)))
