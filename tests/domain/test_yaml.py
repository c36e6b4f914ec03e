"""YAML means what it says, remembers its lines, and cannot exhaust its reader."""

from __future__ import annotations

from typing import Any

import pytest
import yaml as pyyaml

from tasker_host.domain import yaml
from tasker_host.errors import TemplateError


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure Python":
        monkeypatch.setattr(yaml, "_Loader", pyyaml.SafeLoader)
    elif not hasattr(pyyaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")


def problems(text: str) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        yaml.read(text, source="orders.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20T08:30:00Z", "2026-11-20T08:30:00Z"),
        ("1.2.0", "1.2.0"),
        ("no", "no"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ('!!int "12"', 12),
        ("!!float 1", 1.0),
        ("63340286662973277706162286946811886609896461828096", 6**64),
        ("Zoë", "Zoë"),
    ],
)
def test_what_a_plain_word_means(text: str, value: Any) -> None:
    data = yaml.read(f"key: {text}", source="f").data
    assert repr(data) == repr({"key": value})


def test_words_that_once_were_booleans_are_text_and_worth_a_warning() -> None:
    document = yaml.read("country: NO\nstrict: yes\nquoted: 'on'\non: 1\n", source="f.yaml")
    assert document.data == {"country": "NO", "strict": "yes", "quoted": "on", "on": 1}
    assert [str(warning) for warning in document.warnings] == [
        "f.yaml:1: NO is read as text; quote it, or write true or false",
        "f.yaml:2: yes is read as text; quote it, or write true or false",
    ]


def test_every_value_knows_its_line() -> None:
    document = yaml.read("a: 1\nsteps:\n  - name: x\n    retry:\n      limit: 3\n  - y\n", source="f.yaml")
    assert document.where(("steps", 0, "retry", "limit")) == "f.yaml:5"
    assert document.where(("steps", 1)) == "f.yaml:6"
    assert document.where(("steps", 0, "retry", "missing")) == "f.yaml:4"
    assert document.where(()) == "f.yaml:1"


def test_aliases_and_merge_keys_are_followed() -> None:
    text = """
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, a: 5}
both:
  <<: [*base, *more]
  d: *base
"""
    data = yaml.read(text, source="f").data
    assert data["one"] == {"a": 5, "b": 2}
    assert data["both"] == {"d": {"a": 1, "b": 2}, "a": 1, "b": 2, "c": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["orders.yaml:3: the key 'a' is already on line 1"]),
        ("a: 1\n---\nb: 2\n", ["orders.yaml:2: a second document starts here; write one template per file"]),
        ("", ["orders.yaml:1: empty"]),
        ("# only a comment\n", ["orders.yaml:1: empty"]),
        ("x: &x [1, *x]", ["orders.yaml:1: an alias leads into what it is part of"]),
        ("x: &x\n  <<: *x\n", ["orders.yaml:2: '<<' merges mappings only, and none into itself"]),
        ("a:\n  <<: 3\n", ["orders.yaml:2: '<<' merges mappings only, and none into itself"]),
        ("a: !!python/object:os.system x", ["orders.yaml:1: the tag !!python/object:os.system is not allowed here"]),
        ("a: !mine {b: 1}", ["orders.yaml:1: the tag !mine is not allowed here"]),
        ("a: !!int x", ["orders.yaml:1: the tag !!int is not allowed here"]),
        ("a: 1\nb: .NaN\nc: -.inf", [
            "orders.yaml:2: .NaN is not a number that JSON can say",
            "orders.yaml:3: -.inf is not a number that JSON can say",
        ]),
        ("a: 1e999", ["orders.yaml:1: 1e999 is too large for a number; quote it"]),
        ("a: " + "9" * 4301, ["orders.yaml:1: an integer of more than 4,300 digits; quote it"]),
        ("1: a\ntrue: b", [
            "orders.yaml:1: the key 1 is not text; quote it",
            "orders.yaml:2: the key true is not text; quote it",
        ]),
        ("? [a]\n: 1", ["orders.yaml:1: a key must be text"]),
        ("ok: 1\na: \x07", ["orders.yaml:2: the character U+0007 is not allowed"]),
        ("ok: 1\na: '\ud800'", ["orders.yaml:2: a lone surrogate is not allowed"]),
        ("[" * 100_000, ["orders.yaml:1: nested more than 64 levels deep"]),
        ("a: " + "x" * 1024 * 1024, ["orders.yaml:1: longer than 1,048,576 characters"]),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(text: str, expected: list[str]) -> None:
    if "\ud800" in text and yaml._Loader is pyyaml.SafeLoader:
        expected = ["orders.yaml:2: the character U+D800 is not allowed"]
    assert problems(text) == expected


@pytest.mark.parametrize(("text", "line"), [("a: [1,\n", 2), ("a:\n\t- b", 2), ("a: *x", 1), ("a: 'b", 1)])
def test_broken_syntax_is_told_with_its_line(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"orders.yaml:{line}: ")


def test_a_text_that_multiplies_itself_through_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "comes to more than 250,000 values once aliases are followed" in problems("\n".join(lines))[0]
