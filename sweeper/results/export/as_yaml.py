"""Export as YAML: the recommendation itself, below its provenance in words."""

from __future__ import annotations

import json
from io import StringIO

from ruamel.yaml import YAML

from sweeper.results.export.provenance import comment
from sweeper.results.export.setting import Setting


def render(setting: Setting) -> str:
    """Everything that is known of the setting; `config` can stand in a spec as a baseline."""
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(json.loads(json.dumps(setting.found)), stream)
    lines = "".join(f"# {line}".rstrip() + "\n" for line in comment(setting.found))
    return lines + stream.getvalue()
