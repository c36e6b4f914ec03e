"""What plugins give of publishers and subscribers is checked when they are loaded."""

from __future__ import annotations

import pytest

from tasker_host.plugins.fault import Stage

IMPORTS = """
from tasker_host import EventPublisher, Publisher, Subscriber, hookimpl

def say(step, result, event): ...
async def hear(event): ...
class Receipts(EventPublisher): ...
class Broken(EventPublisher):
    def __init__(self): raise ValueError("no gateway")
"""


def hooks(publishers: str = "[]", subscribers: str = "[]") -> str:
    return (
        f"{IMPORTS}\n@hookimpl\ndef tasker_publishers(): return {publishers}\n"
        f"@hookimpl\ndef tasker_subscribers(): return {subscribers}\n"
    )


def test_records_classes_and_instances_are_given(install, roster):
    publishers = "[Publisher('Say', say), Receipts, type('Named', (EventPublisher,), {'name': 'shop.Named'})()]"
    install("shop", hooks(publishers, "[Subscriber('hear', ['a.*', 'host.**'], hear, queue_size=5)]"))
    contribution = roster().plugin("shop").contribution
    assert [publisher.name for publisher in contribution.publishers] == ["Say", "Receipts", "shop.Named"]
    (subscriber,) = contribution.subscribers
    assert (subscriber.name, list(subscriber.events), subscriber.queue_size) == ("hear", ["a.*", "host.**"], 5)
    assert contribution.gives() == {"publishers": 3, "subscribers": 1}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (hooks("[5]"), "not a Publisher or an EventPublisher"),
        (hooks("[Publisher('Say', 5)]"), "publisher 'Say': build must be a function (got 5)"),
        (hooks("[Publisher('', say)]"), "the name of a publisher must be text"),
        (hooks("[Publisher('my receipts', say)]"), "publisher 'my receipts': no template can name it"),
        (hooks("[Publisher('default', say)]"), "'default' is the host's own publisher; choose another name"),
        (hooks("[Publisher('A', say), Publisher('A', say)]"), "two publishers are named 'A'"),
        (hooks("[Broken]"), "ValueError: no gateway"),
        (hooks("1/0"), "ZeroDivisionError"),
        (hooks(subscribers="[hear]"), "not a Subscriber"),
        (hooks(subscribers="[Subscriber('s', ['a.b'], 5)]"), "receive must be a function"),
        (hooks(subscribers="[Subscriber('s', [], hear)]"), "events has no pattern"),
        (hooks(subscribers="[Subscriber('s', 'a.*', hear)]"), "events must be a list of patterns"),
        (hooks(subscribers="[Subscriber('s', ['pay*'], hear)]"), "'pay*' is no pattern of event names"),
        (hooks(subscribers="[Subscriber('s', [5], hear)]"), "must be text (got 5)"),
        (hooks(subscribers="[Subscriber('s', ['a.b'], hear, queue_size=0)]"), "queue_size must be a whole number"),
        (hooks(subscribers="[Subscriber('s', ['a.b'], hear, queue_size=True)]"), "queue_size must be a whole number"),
        (hooks(subscribers="[Subscriber('s', ['a.b'], hear, own_only='no')]"), "own_only must be True or False"),
    ],
)
def test_what_is_wrong_is_the_plugins_fault_and_all_it_gave_is_dropped(install, roster, source, told):
    install("shop", source)
    plugin = roster().plugin("shop")
    assert plugin.contribution is None
    (fault,) = plugin.faults
    assert fault.stage is Stage.COLLECT
    assert told in fault.error


def test_a_publisher_that_another_plugin_gives_names_its_owner(install, roster):
    install("first", hooks("[Publisher('Say', say)]"))
    install("second", hooks("[Publisher('Say', say)]"))
    (fault,) = roster().plugin("second").faults
    assert fault.stage is Stage.NAMES
    assert "publisher 'Say' is already given by plugin 'first'" in fault.error
