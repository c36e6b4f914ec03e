"""`[[events.bindings]]`: what is wrong with one is told with its place."""

from __future__ import annotations

import pytest

from tasker_host.config import load
from tasker_host.errors import ConfigError


def read(tmp_path, text: str):
    file = tmp_path / "tasker.toml"
    file.write_text(text)
    return load(file, env="test", environ={}).settings.events


def test_a_binding_has_a_pattern_and_a_queue_and_all_namespaces_unless_it_says_so(tmp_path):
    events = read(tmp_path, '[[events.bindings]]\npattern = "payment.#"\nqueue = "money"\n')
    (binding,) = events.bindings
    assert (binding.pattern, binding.queue, binding.namespaces, binding.ordered_by) == ("payment.#", "money", (), "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('pattern = "Payment.*"\nqueue = "money"', "'Payment' is neither a segment"),
        ('pattern = "a.*"\nqueue = "money-1"', "no name of a queue"),
        ('pattern = "a.*"\nqueue = "shop_queue"', "a queue of the steps of a namespace"),
        ('pattern = "a.*"\nqueue = "erp_relay"', "a queue of a relay"),
        ('pattern = "a.*"', "queue"),
        ('pattern = "a.*"\nqueue = "money"\nordered_by = "order"', "no place in an event"),
        ('pattern = "a.*"\nqueue = "money"\nkey = 1', "unknown key"),
    ],
)
def test_a_wrong_binding_is_told_with_its_place(tmp_path, text, told):
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f"[[events.bindings]]\n{text}\n")
    (problem,) = raised.value.problems
    assert told in problem.message
    assert "events" in problem.message
    assert problem.where.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ('pattern = "a.*"\nqueue = "money"\nnamespaces = ["x"]', "is bound to 'money' twice"),
        ('pattern = "b.*"\nqueue = "money"\nordered_by = "payload.id"', "two different ordered_by"),
        ('pattern = "money"\nqueue = "money"', "'money' is the name of no event"),
    ],
)
def test_two_bindings_that_contradict_each_other_are_told(tmp_path, second, told):
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f'[[events.bindings]]\npattern = "a.*"\nqueue = "money"\n[[events.bindings]]\n{second}\n')
    assert told in raised.value.problems[0].message
