"""Which keys operators may limit."""

from __future__ import annotations

import pytest

from tasker_host.domain.limits import key_problems


@pytest.mark.parametrize(
    "key", ["namespace:tests", "handler:Charge::call", "handler:a:b", "key:tests:", "key:tests:a:b/c ü", "key:_1:x"]
)
def test_a_key_that_something_may_run_under_is_taken(key):
    assert key_problems(key) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("last", "must be namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE (got 'last')"),
        ("handler:", "must be namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE (got 'handler:')"),
        ("key:tests", "must be namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE (got 'key:tests')"),
        ("key::x", "must name a namespace, of 1 to 29 of a-z, 0-9 and _ (got 'key::x')"),
        ("key:Tests:x", "must name a namespace, of 1 to 29 of a-z, 0-9 and _ (got 'key:Tests:x')"),
        ("namespace:tests\n", "must name a namespace, of 1 to 29 of a-z, 0-9 and _ (got 'namespace:tests\\n')"),
        (
            "namespace:" + "n" * 30,
            "must name a namespace, of 1 to 29 of a-z, 0-9 and _ (got 'namespace:" + "n" * 30 + "')",
        ),
        ("handler:" + "ü" * 497, "must have at most 1,000 bytes (has 1,002)"),
        ("handler:\0", "must not contain the character U+0000"),
    ],
)
def test_a_key_that_nothing_can_run_under_is_refused(key, message):
    assert [problem.message for problem in key_problems(key)] == [message]
