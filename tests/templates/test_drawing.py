"""Templates as pictures."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_host.domain.source import parse_template
from tasker_host.templates import drawing
from tasker_host.templates.layout import layout

TEXT = """
name: approve
namespace_name: orders
version: 1.0.0
steps:
  - {name: 'va"l<i>date', handler: {callable: v}}
  - {name: route, type: decision, handler: {callable: r}, dependencies: ['va"l<i>date']}
  - {name: auto, handler: {callable: a}, dependencies: [route], optional: true}
  - {name: finish, type: deferred_convergence, handler: {callable: f}, dependencies: [auto]}
  - {name: analyze, type: batchable, handler: {callable: b}, dependencies: ['va"l<i>date']}
  - {name: work, type: batch_worker, handler: {callable: w}, dependencies: [analyze]}
"""


@pytest.fixture
def template():
    return parse_template(TEXT, source="t")[0]


def test_mermaid_has_a_shape_for_each_type_and_dotted_lines_to_what_is_made_later(template):
    assert drawing.mermaid(template).splitlines() == [
        "graph TD",
        '  s0["va#quot;l#lt;i#gt;date"]',
        '  s1{"route"}',
        '  s2["auto"]',
        '  s3[/"finish"/]',
        '  s4[/"analyze"/]',
        '  s5[["work"]]',
        "  s0 --> s1",
        "  s1 -.-> s2",
        "  s2 --> s3",
        "  s0 --> s4",
        "  s4 -.-> s5",
    ]


def test_text_has_a_line_a_step_with_what_it_waits_for(template):
    assert drawing.text(template).splitlines() == [
        "orders/approve 1.0.0",
        '  1   va"l<i>date',
        '  2 ◇ route        ← va"l<i>date',
        '  2 ÷ analyze      ← va"l<i>date',
        "  3   auto         ← route",
        "  3 × work         ← analyze",
        "  4 ⊔ finish       ← auto",
        "    ◇ decision   ⊔ deferred_convergence   ÷ batchable   × batch_worker",
    ]


def test_svg_is_xml_with_every_step_and_edge_and_nothing_from_elsewhere(template):
    text = drawing.svg(template)
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    groups = root.findall(f"{space}g")
    names = [group.findall(f"{space}text")[0].text for group in groups]
    assert names == ['va"l<i>date', "route", "auto", "finish", "analyze", "work"]
    assert [group.get("class") for group in groups][2:4] == ["standard optional", "deferred_convergence"]
    edges = [path.get("class") for path in root.findall(f"{space}path")]
    assert sorted(edges) == ["edge", "edge", "edge", "edge made", "edge made"]
    assert text.count("http") == 1
    assert drawing.svg(template) == text


def test_a_template_without_steps_is_a_picture_too():
    empty, _ = parse_template("{name: t, namespace_name: n, version: 1.0.0, steps: []}", source="t")
    ElementTree.fromstring(drawing.svg(empty))
    assert drawing.text(empty) == "n/t 1.0.0\n"
    assert drawing.mermaid(empty) == "graph TD\n"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(1, 12))
    return {
        f"s{index}": [f"s{parent}" for parent in draw(st.sets(st.integers(0, index - 1), max_size=3))] if index else []
        for index in range(size)
    }


@settings(max_examples=60)
@given(graph=graphs())
def test_no_box_covers_another_and_every_edge_goes_down_from_its_parent_to_its_child(graph):
    placed = layout(graph, width_of=lambda name: 60.0 + 10 * len(name))
    assert set(placed.boxes) == set(graph)
    for one, other in itertools.combinations(placed.boxes.values(), 2):
        apart_x = abs(one.x - other.x) >= (one.width + other.width) / 2
        apart_y = abs(one.y - other.y) >= (one.height + other.height) / 2
        assert apart_x or apart_y
    for box in placed.boxes.values():
        assert box.x - box.width / 2 >= 0
        assert box.x + box.width / 2 <= placed.width
        assert box.y - box.height / 2 >= 0
        assert box.y + box.height / 2 <= placed.height
    assert set(placed.edges) == {(parent, child) for child, names in graph.items() for parent in names}
    for (parent, child), points in placed.edges.items():
        heights = [y for _, y in points]
        assert heights == sorted(heights)
        assert points[0] == (placed.boxes[parent].x, placed.boxes[parent].y + placed.boxes[parent].height / 2)
        assert points[-1] == (placed.boxes[child].x, placed.boxes[child].y - placed.boxes[child].height / 2)


def test_two_chains_do_not_cross():
    placed = layout({"a": [], "b": [], "c": ["b"], "d": ["a"]}, width_of=lambda _: 50.0)
    assert (placed.boxes["a"].x < placed.boxes["b"].x) == (placed.boxes["d"].x < placed.boxes["c"].x)
