"""A template as a picture: Mermaid, SVG and plain text."""

from __future__ import annotations

from html import escape

from tasker_host.domain.graph import parents, steps_by_level
from tasker_host.domain.states import StepType
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.templates.layout import Box, layout

_SHAPES = {
    StepType.STANDARD: ("[", "]"),
    StepType.DECISION: ("{", "}"),
    StepType.DEFERRED_CONVERGENCE: ("[/", "/]"),
    StepType.BATCHABLE: ("[/", "/]"),
    StepType.BATCH_WORKER: ("[[", "]]"),
}
_SIGNS = {
    StepType.STANDARD: " ",
    StepType.DECISION: "◇",
    StepType.DEFERRED_CONVERGENCE: "⊔",
    StepType.BATCHABLE: "÷",
    StepType.BATCH_WORKER: "×",
}
_LETTER = 7.4
"""Width of a letter of the font below, in pixels, on the generous side."""

_STYLE = """
  text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #1f2933; text-anchor: middle }
  .type { font-size: 10px; fill: #616e7c }
  .step { fill: #f5f7fa; stroke: #52606d; stroke-width: 1.2 }
  .decision .step { fill: #fff3cd; stroke: #8a6d00 }
  .deferred_convergence .step { fill: #e3f8ff; stroke: #0b69a3 }
  .batchable .step, .batch_worker .step { fill: #e3f9e5; stroke: #0e7a2f }
  .optional .step { stroke-dasharray: 5 3 }
  .edge { fill: none; stroke: #7b8794; stroke-width: 1.2; marker-end: url(#arrow) }
  .made { stroke-dasharray: 5 4 }
  marker path { fill: #7b8794 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb } .type { fill: #9aa5b1 } .step { fill: #323f4b; stroke: #9aa5b1 }
    .decision .step { fill: #513c06 } .deferred_convergence .step { fill: #003e6b }
    .batchable .step, .batch_worker .step { fill: #05400a }
  }
"""


def mermaid(template: TaskTemplate) -> str:
    """A Mermaid flowchart. Edges below a decision or an analyzer are dotted: they lead to steps that are made later."""
    number = {step.name: f"s{index}" for index, step in enumerate(template.steps)}
    lines = ["graph TD"]
    for step in template.steps:
        opening, closing = _SHAPES[step.type]
        lines.append(f'  {number[step.name]}{opening}"{_mermaid_text(step.name)}"{closing}')
    for parent, child in _edges(template):
        arrow = "-.->" if _makes(template.step(parent)) else "-->"
        lines.append(f"  {number[parent]} {arrow} {number[child]}")
    return "\n".join(lines) + "\n"


def text(template: TaskTemplate) -> str:
    """A line a step, by its distance from a start, with what it waits for."""
    rows = [
        (str(level), f"{_SIGNS[template.step(name).type]} {name}", ", ".join(template.step(name).dependencies))
        for level, names in enumerate(steps_by_level(template), start=1)
        for name in names
    ]
    width = max((len(name) for _, name, _ in rows), default=0)
    lines = [template.label]
    for level, name, after in rows:
        lines.append(f"{level:>3} {name:<{width}}  ← {after}" if after else f"{level:>3} {name}")
    used = {step.type for step in template.steps} - {StepType.STANDARD}
    if used:
        lines.append("    " + "   ".join(f"{_SIGNS[kind]} {kind.value}" for kind in StepType if kind in used))
    return "\n".join(lines) + "\n"


def svg(template: TaskTemplate) -> str:
    """A picture of its own, without scripts and fonts from elsewhere."""

    def width_of(name: str) -> float:
        # Slanted and doubled sides take room.
        plain = template.step(name).type is StepType.STANDARD
        return max(90.0, (28 if plain else 48) + _LETTER * len(name))

    placed = layout(template, width_of=width_of)
    width, height = round(placed.width), round(placed.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img">',
        f"<title>{_xml(template.label)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for (parent, _), points in placed.edges.items():
        kind = "edge made" if _makes(template.step(parent)) else "edge"
        lines.append(f'<path class="{kind}" d="{_curve(points)}"/>')
    for step in template.steps:
        lines += _svg_step(step, placed.boxes[step.name])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _edges(template: TaskTemplate) -> list[tuple[str, str]]:
    return [(parent, child) for child, names in parents(template).items() for parent in names]


def _makes(step: StepDefinition) -> bool:
    return step.type in (StepType.DECISION, StepType.BATCHABLE)


def _mermaid_text(name: str) -> str:
    return name.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _xml(value: str) -> str:
    return escape("".join(letter for letter in value if letter >= " "))


def _svg_step(step: StepDefinition, box: Box) -> list[str]:
    classes = f"{step.type.value} optional" if step.optional else step.type.value
    about = " · ".join(part for part in (step.type.value, step.handler.callable, step.description) if part)
    lines = [f'<g class="{classes}">', f"<title>{_xml(about)}</title>", *_outline(step.type, box)]
    if step.type is StepType.STANDARD:
        lines.append(f'<text x="{box.x:.1f}" y="{box.y + 4:.1f}">{_xml(step.name)}</text>')
    else:
        lines.append(f'<text x="{box.x:.1f}" y="{box.y:.1f}">{_xml(step.name)}</text>')
        kind = step.type.value.replace("_", " ")
        lines.append(f'<text class="type" x="{box.x:.1f}" y="{box.y + 14:.1f}">{kind}</text>')
    return [*lines, "</g>"]


def _outline(kind: StepType, box: Box) -> list[str]:
    left, right = box.x - box.width / 2, box.x + box.width / 2
    top, bottom = box.y - box.height / 2, box.y + box.height / 2
    match kind:
        case StepType.DECISION:
            corners = [(left, box.y), (left + 14, top), (right - 14, top), (right, box.y), (right - 14, bottom)]
            corners.append((left + 14, bottom))
        case StepType.DEFERRED_CONVERGENCE:
            corners = [(left, top), (right, top), (right - 10, bottom), (left + 10, bottom)]
        case StepType.BATCHABLE:
            corners = [(left + 10, top), (right - 10, top), (right, bottom), (left, bottom)]
        case _:
            boxed = f'x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="4"'
            lines = [f'<rect class="step" {boxed}/>']
            if kind is StepType.BATCH_WORKER:
                sides = " ".join(f"M{x:.1f} {top:.1f}V{bottom:.1f}" for x in (left + 6, right - 6))
                lines.append(f'<path class="step" d="{sides}"/>')
            return lines
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return [f'<polygon class="step" points="{points}"/>']


def _curve(points: tuple[tuple[float, float], ...]) -> str:
    (x, y), *rest = points
    path = f"M{x:.1f} {y:.1f}"
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return path
