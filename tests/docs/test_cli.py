"""docs/cli.md lists every command with its options, and no page shows a command line that the command would refuse."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tasker_host.cli import tasker
from tasker_host.cli.options import CANNOT_START, DONE, INTERRUPTED, WORK_FAILED, WRONG_USAGE
from tasker_host.domain.request import request_from_data
from tests.docs.pages import Page, code, everything, page

COMMON = {"--config", "--env", "--json"}
HELP = {"--help", "-h"}


def commands(group: click.Command = tasker, name: str = "tasker") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by how it is called."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for word in group.list_commands(context):
            command = group.get_command(context, word)
            # What plugins of this environment add is not ours to document.
            if command is not None and command.callback.__module__.startswith("tasker_host."):
                yield from commands(command, f"{name} {word}")
    else:
        yield name, group


COMMANDS = dict(commands())


def options(command: click.Command) -> set[str]:
    shown = [found for found in command.params if isinstance(found, click.Option) and not found.hidden]
    return {name for option in shown for name in (*option.opts, *option.secondary_opts)}


def test_every_command_has_a_section_and_no_other_has_one():
    assert {heading for heading in page("cli").headings() if heading.startswith("tasker ")} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_there_with_its_meaning_and_no_other(name):
    rows = [row for rows in page("cli").tables(name) for row in rows[1:]]
    assert {option for row in rows for option in code(row[0])} == options(COMMANDS[name]) - COMMON
    assert [row[0] for row in rows if len(row[1]) < 4] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name):
    rows = page("cli").table("Options of every command", "option")
    assert {option for row in rows for option in code(row[0])} == COMMON | HELP
    assert options(COMMANDS[name]) >= COMMON


def test_arguments_are_shown():
    for name, command in COMMANDS.items():
        arguments = [argument for argument in command.params if isinstance(argument, click.Argument)]
        if arguments:
            shown = [argument.make_metavar(click.Context(command)).strip("[]") for argument in arguments]
            usage = " ".join([name, *shown])
            assert usage in code(page("cli").section(name)), usage


def test_every_exit_code_is_there():
    codes = [int(code(row[0])[0]) for row in page("cli").table("Exit codes", "code")]
    assert codes == [DONE, WORK_FAILED, WRONG_USAGE, CANNOT_START, INTERRUPTED]


# Command lines of all pages ------------------------------------------------------------------------------------------


def lines(one: Page) -> list[str]:
    """The `tasker …` command lines of a page's blocks, without variables and what pipes into them."""
    found = []
    for block in one.blocks("sh"):
        for line in block.text.splitlines():
            for part in re.split(r"\s(?:\||&&)\s", line):
                words = shlex.split(part)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words[:1] == ["tasker"]:
                    found.append(shlex.join(words))
    return found


LINES = [(one.name, line) for one in everything() for line in lines(one)]


def accepted(line: str) -> None:
    """Parses the line as the command does, short of running it. Raises click's UsageError."""
    words = shlex.split(line)[1:]
    asks = {*HELP, "--version"}.intersection(words)
    command: click.Command = tasker
    context = click.Context(tasker, info_name="tasker")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        word = words.pop(0)
        found = command.get_command(context, word)
        if found is None:
            raise click.UsageError(f"no command {word}")
        command, context = found, click.Context(found, parent=context, info_name=word)
    try:
        command.make_context(context.info_name, words, parent=context.parent)
    except click.exceptions.Exit:
        assert asks


def test_there_are_command_lines_to_check():
    assert len(LINES) > 30


@pytest.mark.parametrize(("where", "line"), LINES)
def test_every_command_line_would_be_accepted(where, line):
    accepted(line)


@pytest.mark.parametrize(
    "line", ["tasker tusk list", "tasker task list --stat error", "tasker task show 17", "tasker run -x"]
)
def test_a_wrong_command_line_would_be_noticed(line):
    with pytest.raises(click.UsageError):
        accepted(line)


def inline() -> list[tuple[str, str]]:
    spans = [(one.name, span) for one in everything() for span in sorted(one.spans())]
    return [(name, span) for name, span in spans if re.match(r"tasker [a-z-]", span)]


@pytest.mark.parametrize(("where", "span"), inline())
def test_every_command_named_in_a_sentence_exists(where, span):
    words = span.split()
    command: click.Command = tasker
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, span
        command, rest = found, rest[1:]
    known = options(command) | HELP
    assert [word for word in rest if word.startswith("-") and word not in known] == []


# JSON of all pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [block for one in everything() for block in one.blocks("json")], ids=str)
def test_every_json_example_is_json(block):
    assert json.loads(block.text)


def bodies() -> list[tuple[str, str]]:
    """What the pages post, in blocks and with curl."""
    found = [(str(block), block.text) for block in page("api").blocks("json") if '"context": {' in block.text]
    for one in everything():
        for block in one.blocks("sh"):
            found += [(str(block), given) for given in re.findall(r"-d '([^']+)'", block.text)]
    return found


@pytest.mark.parametrize(("where", "body"), bodies())
def test_every_body_that_is_posted_is_a_request(where, body):
    assert request_from_data(json.loads(body)).context
