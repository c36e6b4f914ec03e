"""What SQL says of identities, keys and contexts is what Python says."""

from __future__ import annotations

import json

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasker_host.config import load
from tasker_host.domain.concurrency import concurrency_keys
from tasker_host.domain.identity import identity_key
from tasker_host.domain.json import canonical_json, loads
from tasker_host.domain.source import template_from_data
from tasker_host.errors import Problem

often = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=8)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
NUMBER = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?"


@pytest.fixture
async def connection(dsn):
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def canonical(connection, text):
    return await connection.fetchval("select tasker.canonical_json($1)", text)


@often
@given(value=values)
async def test_sql_and_python_write_the_same_canonical_json(connection, value):
    for ensure_ascii in (True, False):
        assert await canonical(connection, json.dumps(value, ensure_ascii=ensure_ascii)) == canonical_json(value)


async def test_a_session_that_shows_fewer_digits_makes_the_same_text(connection):
    await connection.execute("set extra_float_digits = 0")
    assert await canonical(connection, "[0.30000000000000004, 5e-324]") == "[0.30000000000000004,5e-324]"


@often
@given(number=st.from_regex(NUMBER, fullmatch=True))
async def test_a_number_is_the_same_however_it_was_written(connection, number):
    assert await canonical(connection, f"[{number}]") == canonical_json(loads(f"[{number}]"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1", "1"),
        ("1.0", "1.0"),
        ("1e3", "1000.0"),
        ("1E+3", "1000.0"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1.10", "1.1"),
        ("0.1", "0.1"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("123456789012345678901234567890.0", "1.2345678901234568e+29"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("5e-324", "5e-324"),
        ("1e-400", "0.0"),
        ("-1e-400", "-0.0"),
        ("2.4703282292062327e-324", "0.0"),
        ("2.4703282292062328e-324", "5e-324"),
        ("1.7976931348623158e308", "1.7976931348623157e+308"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ('{"b":1,"a":{"d":[2,1],"c":null},"b":2}', '{"a":{"c":null,"d":[2,1]},"b":2}'),
        (' { "a" : [ 1 , "x" ] } ', '{"a":[1,"x"]}'),
        (r'"\u00e9\u2028\ud83d\ude00\/\u0001\u007f"', '"é\u2028😀/\\u0001\x7f"'),
        ('{"\U0001f600":1,"\uffff":2}', '{"\uffff":2,"\U0001f600":1}'),
    ],
)
async def test_both_write_what_is_expected(connection, written, expected):
    assert await canonical(connection, written) == expected
    assert canonical_json(loads(written)) == expected


@pytest.mark.parametrize("digits", [-15, 0, 3])
async def test_the_session_has_no_say_in_how_many_digits_an_identity_has(connection, digits):
    await connection.execute(f"set extra_float_digits = {digits}")
    assert await canonical(connection, "[1000000.000001, 0.1, 5e-324]") == "[1000000.000001,0.1,5e-324]"


@often
@given(context=st.dictionaries(text, values, max_size=4), key=st.none() | text.filter(bool))
async def test_sql_and_python_make_the_same_identity(connection, context, key):
    template, _ = template_from_data({"name": "t", "namespace_name": "tests", "version": "1.0.0"}, source="t")
    made = await connection.fetchval(
        "select tasker.identity_key('tests', 't', '1.0.0', 'strict', $1, $2)", json.dumps(context), key
    )
    assert made == identity_key(template, context, key)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("1", "the context must be an object (got number)"),
        (None, "the context must be an object (got null)"),
        ('{"a": "\\u0000"}', "the context holds what cannot be stored: unsupported Unicode escape sequence"),
        ('{"a": "\\ud800"}', "the context holds what cannot be stored: invalid input syntax for type json"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "the context is nested more than 64 levels deep"),
        ('{"a": 1e400}', "the number 1e400 is beyond the range of a float"),
        ('{"a": 1e-20000}', "the context holds what cannot be stored: value overflows numeric format"),
        ('{"a": [-1e400]}', "the number -1e400 is beyond the range of a float"),
        ('{"a": ' + "9" * 4301 + "}", "an integer of more than 4,300 digits"),
        ('{"a": "' + "x" * 1048568 + '"}', "the context has 1048577 bytes, more than the 1048576 allowed"),
    ],
)
async def test_a_context_that_no_task_may_have_is_refused(connection, context, message):
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError)) as refused:
        await connection.execute("select tasker.context_check($1, 1048576, 64)", context)
    assert refused.value.message == message


@pytest.mark.parametrize(
    "context",
    [
        '{"a": ' + "[" * 63 + "]" * 63 + "}",
        '{"a": "' + "x" * 1048567 + '"}',
        '{"a": ' + "9" * 4300 + "}",
        '{"onclick": "<script>", "script": 1}',
    ],
)
async def test_a_context_at_its_limits_is_not(connection, context):
    await connection.execute("select tasker.context_check($1, 1048576, 64)", context)


async def test_the_limits_in_sql_are_those_that_hosts_ship_with_until_one_says_otherwise(connection):
    settings = load(environ={}, env="production").settings
    told = await connection.fetchrow("select * from tasker.host_settings")
    assert (told["context_max_bytes"], told["context_max_depth"], told["aging_interval"].total_seconds()) == (
        settings.limits.context_max_bytes,
        settings.limits.context_max_depth,
        settings.worker.aging_interval_seconds,
    )
    assert told["event_driven_until"] is None


KEYED = {
    "name": "t",
    "namespace_name": "tests",
    "version": "1.0.0",
    "concurrency_key": "c-{customer.id}/{{ context.region }}!",
    "steps": [
        {"name": "a", "handler": {"callable": "a"}},
        {"name": "b", "handler": {"callable": "b"}, "concurrency_key": "{customer.id}{region}"},
    ],
}


@often
@given(customer=numbers | text | st.booleans(), region=numbers | text | st.booleans())
async def test_sql_and_python_make_the_same_business_keys(connection, customer, region):
    template, _ = template_from_data(KEYED, source="t")
    context = {"customer": {"id": customer}, "region": region}
    keys, problems = concurrency_keys(template, context)
    assert problems == []
    made = await connection.fetchval(
        "select tasker.concurrency_keys('tests', $1, $2)", template.canonical(), json.dumps(context)
    )
    assert json.loads(made) == keys


async def test_a_business_key_of_the_template_by_hand(connection):
    template, _ = template_from_data(KEYED, source="t")
    context = {"customer": {"id": "{region}"}, "region": 1.50}
    made = await connection.fetchval(
        "select tasker.concurrency_keys('tests', $1, $2)", template.canonical(), json.dumps(context)
    )
    assert json.loads(made) == {"*": "key:tests:c-{region}/1.5!", "b": "key:tests:{region}1.5"}


@pytest.mark.parametrize(
    ("context", "where"),
    [
        ({"region": 1}, "context.customer.id"),
        ({"customer": [7], "region": 1}, "context.customer.id"),
        ({"customer": {"id": 1}, "region": None}, "context.region"),
    ],
)
async def test_a_context_without_the_field_of_a_business_key_is_refused(connection, context, where):
    template, _ = template_from_data(KEYED, source="t")
    with pytest.raises(asyncpg.CheckViolationError, match=f"^{where} must be text or a number"):
        await connection.fetchval(
            "select tasker.concurrency_keys('tests', $1, $2)", template.canonical(), json.dumps(context)
        )
    _, problems = concurrency_keys(template, context)
    assert Problem(where, f"must be text or a number: concurrency_key is {KEYED['concurrency_key']!r}") in problems


@pytest.mark.parametrize(("length", "holds"), [(988, True), (989, False)])
async def test_a_business_key_has_at_most_a_thousand_bytes(connection, length, holds):
    template, _ = template_from_data({**KEYED, "concurrency_key": "{id}", "steps": []}, source="t")
    context = {"id": "ü" + "x" * length}  # 12 bytes more with key:tests: and the ü
    made = "select tasker.concurrency_keys('tests', $1, $2)"
    _, problems = concurrency_keys(template, context)
    if holds:
        assert problems == []
        assert len(json.loads(await connection.fetchval(made, template.canonical(), json.dumps(context)))["*"]) == 999
    else:
        message = "gives a concurrency_key of 1,001 bytes, more than the 1,000 allowed: '{id}'"
        assert problems == [Problem("context", message)]
        with pytest.raises(asyncpg.CheckViolationError, match="1001 bytes, more than the 1,000 allowed"):
            await connection.fetchval(made, template.canonical(), json.dumps(context))


def test_a_business_key_holds_no_character_that_text_cannot():
    template, _ = template_from_data(KEYED, source="t")
    _, problems = concurrency_keys(template, {"customer": {"id": "a\0"}, "region": 1})
    assert [(problem.where, problem.message[:40]) for problem in problems] == [
        ("context.customer.id", "must not contain the character U+0000: c")
    ] * 2
