"""Templates written as YAML, so that reading the text gives the same content again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import ScalarNode

_MEANS_MORE = re.compile(
    r"""~|null|true|false|yes|no|on|off|y|n|<<|=
    |[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)(e[-+]?[0-9]+)?|0[ox][0-9a-f]+|[-+]?\.(inf|nan)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Text that YAML 1.1, 1.2 or our own reader takes for something else unless it is quoted."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    if "\n" in text and not re.search(r"[^\S\n]\n|[^\x20-\x7e\n\u00a0-\ud7ff]|\A\s", text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    # Line breaks of Unicode (NEL, LS, PS) are folded into spaces where text is not in double quotes.
    quoted = not text or _MEANS_MORE.fullmatch(text) or re.search("[\x85\u2028\u2029\ufeff]", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _text)


def yaml_text(data: Mapping[str, Any]) -> str:
    """`data` (of JSON's types) as a YAML document: keys as they come, short lists and mappings on one line."""
    return yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None
    )
