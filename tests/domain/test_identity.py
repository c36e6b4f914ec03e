"""When two submissions mean the same task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.identity import identity_key
from tasker_host.domain.template import IdentityStrategy
from tasker_host.errors import InvalidRequest


@dataclass(frozen=True)
class Template:
    namespace_name: str = "shop"
    name: str = "order"
    version: str = "1.0.0"
    identity_strategy: IdentityStrategy = IdentityStrategy.STRICT


STRICT = Template()
CALLER = Template(identity_strategy=IdentityStrategy.CALLER_PROVIDED)
UNIQUE = Template(identity_strategy=IdentityStrategy.ALWAYS_UNIQUE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, True),
        ({"x": {"p": 1, "q": 2}}, {"x": {"q": 2, "p": 1}}, True),
        ({"x": [1, 2]}, {"x": [2, 1]}, False),
        ({"x": 1}, {"x": 2}, False),
        ({"x": 1}, {"x": "1"}, False),
        ({"x": 2**64}, {"x": 2**64 + 1}, False),
        ({"x": None}, {}, False),
        ({"online": 1}, {}, False),
    ],
)
def test_strict_means_the_same_context(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (identity_key(STRICT, one) == identity_key(STRICT, other)) is same


def test_the_key_is_a_sha256_of_the_template_and_the_context() -> None:
    assert (
        identity_key(STRICT, {"b": [1, None], "a": "é"})
        == "96efbbea8b6bec9fc88ca44d184bf5664d0947cda8d2fae3b3143f42c516a590"
    )


def test_the_template_takes_part_by_namespace_name_and_version() -> None:
    templates = [
        STRICT,
        replace(STRICT, namespace_name="shop2"),
        replace(STRICT, name="order2"),
        replace(STRICT, version="1.0.1"),
    ]
    assert len({identity_key(template, {}) for template in templates}) == 4


@pytest.mark.parametrize("template", [STRICT, CALLER, UNIQUE])
def test_a_key_of_the_caller_counts_instead_of_the_context_whatever_the_strategy(template: Template) -> None:
    one = identity_key(template, {"x": 1}, "day-7")
    assert one is not None
    assert one == identity_key(template, {"x": 2}, "day-7")
    assert one != identity_key(template, {"x": 1}, "day-8")


def test_a_key_of_the_caller_never_equals_a_context() -> None:
    assert identity_key(STRICT, {}, "{}") != identity_key(STRICT, {})


def test_without_its_key_caller_provided_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"shop/order 1\.0\.0 needs an idempotency_key"):
        identity_key(CALLER, {"x": 1})


def test_always_unique_has_no_key() -> None:
    assert identity_key(UNIQUE, {"x": 1}) is None


CONTEXTS = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()))


@given(CONTEXTS, st.randoms())
def test_the_order_of_keys_never_matters(context: dict[str, Any], random: Any) -> None:
    keys = list(context)
    random.shuffle(keys)
    assert identity_key(STRICT, {key: context[key] for key in keys}) == identity_key(STRICT, context)


@given(CONTEXTS, st.text(), st.integers(), st.integers())
def test_a_changed_value_always_matters(context: dict[str, Any], key: str, one: int, other: int) -> None:
    same = identity_key(STRICT, context | {key: one}) == identity_key(STRICT, context | {key: other})
    assert same is (one == other)
