"""Each key of a TOML text is found on its line."""

from __future__ import annotations

import json
import string
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_host.config.locate import locate

TEXT = '''\
# a comment = "not a key"
top = 1
dotted.first = "x"   # [not.a.table]
dotted."quoted key"."a.b" = 'y'

[worker]
slots = 100
namespaces = [
    "one",  # ]
    "two",

    { name = "three", sizes = [
        1] },
]
text = """
[not.a.table]
key = "no \\""" key" """

[worker.retry]
base_ms = 1_000
literal = \'\'\'
it's''\'\'\'
when = 1979-05-27 07:32:00

[[hooks]]
url = "a"
[hooks.options]
deep = true
[[hooks]]
[hooks.options]
deep = false

[a.b.c]
x = inf
[a]
y = """"quoted""""

[plugins."tasker payments".settings]
end = 0'''


def test_every_kind_of_key_is_on_its_line():
    assert locate(TEXT).lines == {
        ("top",): 2,
        ("dotted",): 3,
        ("dotted", "first"): 3,
        ("dotted", "quoted key"): 4,
        ("dotted", "quoted key", "a.b"): 4,
        ("worker",): 6,
        ("worker", "slots"): 7,
        ("worker", "namespaces"): 8,
        ("worker", "namespaces", 0): 9,
        ("worker", "namespaces", 1): 10,
        ("worker", "namespaces", 2): 12,
        ("worker", "namespaces", 2, "name"): 12,
        ("worker", "namespaces", 2, "sizes"): 12,
        ("worker", "namespaces", 2, "sizes", 0): 13,
        ("worker", "text"): 15,
        ("worker", "retry"): 19,
        ("worker", "retry", "base_ms"): 20,
        ("worker", "retry", "literal"): 21,
        ("worker", "retry", "when"): 23,
        ("hooks",): 25,
        ("hooks", 0): 25,
        ("hooks", 0, "url"): 26,
        ("hooks", 0, "options"): 27,
        ("hooks", 0, "options", "deep"): 28,
        ("hooks", 1): 29,
        ("hooks", 1, "options"): 30,
        ("hooks", 1, "options", "deep"): 31,
        ("a",): 35,
        ("a", "b"): 33,
        ("a", "b", "c"): 33,
        ("a", "b", "c", "x"): 34,
        ("a", "y"): 36,
        ("plugins",): 38,
        ("plugins", "tasker payments"): 38,
        ("plugins", "tasker payments", "settings"): 38,
        ("plugins", "tasker payments", "settings", "end"): 39,
    }
    assert paths(tomllib.loads(TEXT)) == set(locate(TEXT).lines)


def test_lines_may_end_as_on_windows():
    assert locate("[a]\r\nx = 1\r\ny = '''\r\n\r\n'''\r\nz = 2\r\n").lines == {
        ("a",): 1,
        ("a", "x"): 2,
        ("a", "y"): 3,
        ("a", "z"): 6,
    }


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("a = 1\nb = 2\na = 3", [(("a",), 3)]),
        ("[a]\nx = 1\n[a]", [(("a",), 3)]),
        ("[a]\n[b]\nx = 1\n[a]\nx = 2", [(("a",), 4)]),
        ("a.b = 1\n[a]", [(("a",), 2)]),
        ("a = 1\n[a]", [(("a",), 2)]),
        ("[[a]]\n[a]", [(("a",), 2)]),
        ("[a]\n[[a]]", [(("a",), 2)]),
        ("a = {x = 1, x = 2}", [(("a", "x"), 1)]),
    ],
)
def test_what_is_written_twice_is_told_with_its_second_line(text, repeated):
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    assert locate(text).repeated == repeated


@pytest.mark.parametrize("text", ["a = 1\n[a.b]\n[a.b.c]", "[a.b]\n[a]\n[a.c]", "[[a]]\n[a.b]\n[[a]]\n[a.b]"])
def test_tables_that_only_share_a_beginning_are_not_repeated(text):
    assert locate(text).repeated == []


@pytest.mark.parametrize("text", ["a", "= 1", "a = 'x", "[a", "a = [1", "a = {b = 1", '"a = 1', "a = ", "[[a]\n"])
def test_text_that_is_not_toml_is_a_value_error(text):
    with pytest.raises(ValueError, match="not TOML"):
        locate(text)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Paths of all keys, tables and array elements."""
    children: Iterator[tuple[str | int, Any]]
    match value:
        case dict():
            children = iter(value.items())
        case list():
            children = enumerate(value)
        case _:
            return set()
    return {found for key, item in children for found in {(*path, key)} | paths(item, (*path, key))}


# Random documents: a writer that notes the line on which it writes each key -------------------------------------------

KEYS = st.text(st.sampled_from(string.ascii_lowercase + " .#=[]\"'\\é-_1"), max_size=4)
STRINGS = st.text(st.sampled_from("ab \n\"'\\#[]{}=,é\t"), max_size=8)
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False), STRINGS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.dictionaries(KEYS, VALUES | inner | st.lists(inner, min_size=1, max_size=3), max_size=3),
    max_leaves=8,
)


class Writer:
    def __init__(self, choose: st.DataObject) -> None:
        self.text = ""
        self.lines: dict[tuple[str | int, ...], int] = {}
        self._choose = choose

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def pick(self, *options: Any) -> Any:
        return self._choose.draw(st.sampled_from(options))

    def key(self, key: str) -> str:
        bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        literal = [f"'{key}'"] if "'" not in key else []
        return str(self.pick(json.dumps(key), *([key] if bare else []), *literal))

    def noise(self) -> str:
        return str(self.pick("", "\n", "# [x] y = 'z'\n", '  \t\n# """\n\n'))

    def table(self, values: dict[str, Any], path: tuple[str | int, ...]) -> None:
        """The keys of a table, then the tables in it, each under its own header or as dotted keys."""
        later = []
        for name, content in values.items():
            key, value, here = name, content, (*path, name)
            are_elements = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            if (isinstance(value, dict) or are_elements) and self.pick(True, False):
                later.append((here, value))
                continue
            self.text += self.noise() + self.pick("", "  ")
            if isinstance(value, dict) and len(value) == 1 and self.pick(True, False):
                self.lines[here] = self.line
                ((inner, value),) = value.items()
                here = (*here, inner)
                self.text += self.key(key) + self.pick(".", " . ")
                key = inner
            self.lines[here] = self.line
            self.text += self.key(key) + self.pick("=", " = ")
            self.value(value, here)
            self.text += self.pick("\n", " # x = [\n")
        for here, value in later:
            if isinstance(value, dict):
                self.header(here, "[", "]")
                self.table(value, here)
            else:
                for index, item in enumerate(value):
                    self.header(here, "[[", "]]")
                    self.lines[(*here, index)] = self.lines[here]
                    self.lines[here] = self.lines[(*here, 0)]
                    self.table(item, (*here, index))

    def header(self, path: tuple[str | int, ...], opening: str, closing: str) -> None:
        self.text += self.noise()
        self.lines[path] = self.line
        names = [self.key(part) for part in path if isinstance(part, str)]
        self.text += opening + self.pick(".", " . ").join(names) + closing + self.pick("\n", " # [y]\n")

    def value(self, value: Any, path: tuple[str | int, ...]) -> None:
        match value:
            case dict():
                self.text += "{"
                for index, (key, item) in enumerate(value.items()):
                    self.text += ", " if index else " "
                    self.lines[(*path, key)] = self.line
                    self.text += self.key(key) + " = "
                    self.value(item, (*path, key))
                self.text += "}"
            case list():
                self.text += "["
                for index, item in enumerate(value):
                    self.text += ("," if index else "") + self.noise()
                    self.lines[(*path, index)] = self.line
                    self.value(item, (*path, index))
                    self.text += self.noise()
                self.text += self.pick("", ",") if value else ""
                self.text += "]"
            case str():
                self.text += self.string(value)
            case bool():
                self.text += str(value).lower()
            case _:
                self.text += repr(value)

    def string(self, value: str) -> str:
        basic = json.dumps(value, ensure_ascii=False)
        multi = '"""\n' + value.replace("\\", "\\\\").replace('""', '"\\"') + '"""'
        literal = [f"'{value}'"] if not set("'\n") & set(value) else []
        multi_literal = [f"'''\n{value}'''"] if "'''" not in value and not value.endswith("'''") else []
        return str(self.pick(basic, multi, *literal, *multi_literal))


@settings(max_examples=300)
@given(values=TABLES, choose=st.data())
def test_any_document_is_located_as_tomllib_reads_it(values, choose):
    writer = Writer(choose)
    writer.table(values, ())
    assert tomllib.loads(writer.text) == values
    assert locate(writer.text).lines == writer.lines
    assert locate(writer.text).repeated == []
