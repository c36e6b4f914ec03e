"""YAML text to plain data that remembers its lines.

Plain words mean what they mean in YAML 1.2, and so in JSON: only true and false are booleans, dates are text, 010 is
ten. Anchors, aliases and merge keys work; duplicate keys, several documents in a text, tags of a program's own types
and everything that could exhaust the reader are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tasker_host.domain.faults import Path
from tasker_host.errors import Problem, TemplateError

MOST_CHARACTERS = 1024 * 1024
MOST_DEPTH = 64
MOST_VALUES = 250_000
"""Values a text may come to once its aliases are followed."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = {"0o": 8, "0x": 16}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NONFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_ONCE_BOOL = re.compile(r"yes|no|on|off", re.IGNORECASE)
_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """`data` as dicts, lists, text, numbers, booleans and None; `lines` gives the line (from 1) of each path in it."""

    source: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def where(self, path: Path) -> str:
        """`file:line` of `path`."""
        return f"{self.source}:{self.line(path)}"


def read(text: str, *, source: str) -> Document:
    """The one document in `text`. Raises TemplateError with `source:line` of every problem."""
    document = Document(source)
    try:
        if len(text) > MOST_CHARACTERS:
            raise _UnreadableError(1, f"longer than {MOST_CHARACTERS:,} characters")
        _check_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except _UnreadableError as error:
        raise _refusal(source, [Problem(f"{source}:{error.line}", error.message)]) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise _refusal(source, [Problem(f"{source}:{line}", "a lone surrogate is not allowed")]) from None
    except yaml.YAMLError as error:
        raise _refusal(source, [_problem(error, text, source)]) from None
    if node is None:
        raise _refusal(source, [Problem(f"{source}:1", "empty")])
    builder = _Builder(document)
    document.data = builder.value(node, ())
    if builder.problems:
        raise _refusal(source, list(dict.fromkeys(builder.problems)))  # an aliased fault is met more than once
    return document


class _UnreadableError(Exception):
    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message


def _refusal(source: str, problems: list[Problem]) -> TemplateError:
    return TemplateError(f"{source} is not readable YAML", problems)


def _check_depth(text: str) -> None:
    """Before nodes are made: libyaml's composer calls itself for each level, and a deep text overflows its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                assert event.start_mark is not None
                raise _UnreadableError(event.start_mark.line + 1, f"nested more than {MOST_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.problem, error.context) if part)
        if error.context == "expected a single document in the stream":
            message = "a second document starts here; write one template per file"
        return Problem(f"{source}:{1 if mark is None else mark.line + 1}", message)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(f"{source}:{line}", f"the character U+{ord(text[error.position]):04X} is not allowed")
    return Problem(f"{source}:1", str(error))


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._values = 0
        self._open: set[int] = set()

    def value(self, node: Node, path: Path) -> Any:
        self.document.lines.setdefault(path, _line(node))
        self._values += 1
        if self._values > MOST_VALUES:
            if self._values == MOST_VALUES + 1:
                self._refuse(node, f"comes to more than {MOST_VALUES:,} values once aliases are followed")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self._refuse(node, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed here")
            return None
        if id(node) in self._open or len(path) > MOST_DEPTH:
            self._refuse(node, "an alias leads into what it is part of")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            assert isinstance(node, SequenceNode)
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data = {}
        for key, (key_node, value_node) in self._pairs(node).items():
            self.document.lines[*path, key] = _line(key_node)
            data[key] = self.value(value_node, (*path, key))
        return data

    def _pairs(self, node: MappingNode) -> dict[str, tuple[Node, Node]]:
        """Keys with their nodes; merge keys followed."""
        pairs: dict[str, tuple[Node, Node]] = {}
        merged: list[tuple[Node, Node]] = []
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key == "<<" and not key_node.style:
                others = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                merged += [(key_node, other) for other in others]
            elif key in pairs:
                self._refuse(key_node, f"the key '{key}' is already on line {_line(pairs[key][0])}")
            else:
                pairs[key] = key_node, value_node
        for key_node, other in merged:
            if not isinstance(other, MappingNode) or id(other) in self._open:
                self._refuse(key_node, "'<<' merges mappings only, and none into itself")
                continue
            self._open.add(id(other))
            # What stands in the mapping itself outweighs what is merged, and earlier ones outweigh later ones.
            pairs |= {key: pair for key, pair in self._pairs(other).items() if key not in pairs}
            self._open.discard(id(other))
        return pairs

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self._refuse(node, "a key must be text")
            return None
        if not node.style and not isinstance(self._scalar(node, quiet=True), str):
            self._refuse(node, f"the key {node.value or 'without a name'} is not text; quote it")
            return None
        return str(node.value)

    def _scalar(self, node: ScalarNode, *, quiet: bool = False) -> Hashable:  # noqa: PLR0911 - a case for each kind
        text: str = node.value
        # The loader resolves by YAML 1.1; only a tag that stands in the text itself, or quotes, bind us.
        if node.style and node.tag in (f"{_TAG}str", "!"):
            return text
        if node.style or not self._was_resolved(node):
            return self._tagged(node)
        if _NULL.fullmatch(text):
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return self._integer(node, text, 10)
        if text[:2] in _BASED and re.fullmatch(r"[0-9a-fA-F]+", text[2:]):
            return self._integer(node, text[2:], _BASED[text[:2]])
        if _FLOAT.fullmatch(text):
            return self._float(node, text)
        if _NONFINITE.fullmatch(text):
            self._refuse(node, f"{text} is not a number that JSON can say")
        elif _ONCE_BOOL.fullmatch(text) and not quiet:
            message = f"{text} is read as text; quote it, or write true or false"
            place = f"{self.document.source}:{_line(node)}"
            self.document.warnings.append(Problem(place, message, "ONCE_BOOLEAN"))
        return text

    def _was_resolved(self, node: ScalarNode) -> bool:
        """Whether the tag of a plain scalar is the loader's guess rather than the author's word."""
        guess = _Loader.yaml_implicit_resolvers
        candidates = guess.get(node.value[:1], []) + guess.get(None, [])
        guessed = next((tag for tag, pattern in candidates if pattern.match(node.value)), f"{_TAG}str")
        return bool(node.tag == guessed)

    def _tagged(self, node: ScalarNode) -> Hashable:
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "int" if _INT.fullmatch(text):
                return self._integer(node, text, 10)
            case "float" if _FLOAT.fullmatch(text):
                return self._float(node, text)
            case "bool" if text in _BOOL:
                return _BOOL[text]
            case "null" if _NULL.fullmatch(text):
                return None
        self._refuse(node, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed here")
        return None

    def _integer(self, node: ScalarNode, digits: str, base: int) -> int:
        try:
            return int(digits, base)
        except ValueError:
            self._refuse(node, "an integer of more than 4,300 digits; quote it")
            return 0

    def _float(self, node: ScalarNode, text: str) -> float:
        number = float(text)
        if math.isinf(number):
            self._refuse(node, f"{text} is too large for a number; quote it")
        return number

    def _refuse(self, node: Node, message: str) -> None:
        self.problems.append(Problem(f"{self.document.source}:{_line(node)}", message))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
