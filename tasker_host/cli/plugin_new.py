"""`tasker plugin new`: the folder of a package with a plugin, ready to be tested, installed and run."""

from __future__ import annotations

import re
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import rich_click as click

from tasker_host.cli.options import TaskerCommand, config_options, echo_json, json_option

_NAME = re.compile(r"[a-z](?:[a-z0-9]|[-_](?=[a-z0-9]))*")
_LONGEST = 29
"""Characters; what a namespace may have, as it is named after the plugin."""

_PREFIX = "tasker-"

_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/{package}/__init__.py": "",
    "src/{package}/plugin.py": "plugin.py",
    "src/{package}/settings.py": "settings.py",
    "src/{package}/handlers.py": "handlers.py",
    "src/{package}/publishers.py": "publishers.py",
    "src/{package}/templates/greet.yaml": "greet.yaml",
    "src/{package}/py.typed": "",
    "tests/test_handlers.py": "test_handlers.py",
}
"""Path in the new folder → its text in `scaffold/`, empty without one."""


@click.command("new", cls=TaskerCommand)
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    metavar="PATH",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where the folder tasker-NAME is made. [default: here]",
)
@config_options
@json_option
def new(name: str, parent: Path, config_root: Path | None, env: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Write the folder of a new plugin: handlers, a template, settings, a test that passes. Overwrites nothing."""
    words = _words(name)
    folder = parent / words["dist"]
    written = _write(folder, words)
    if as_json:
        echo_json({**words, "folder": str(folder), "files": written})
        return
    click.echo(f"{folder}: the plugin '{name}', as the distribution {words['dist']}")
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"next: cd {folder} && pip install -e '.[test]' && pytest && tasker plugin show {name}", err=True)


def _words(name: str) -> dict[str, str]:
    """What is put into the files. Raises InvalidRequest for what cannot be the name of a plugin."""
    from tasker_host.errors import InvalidRequest

    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        likely = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:_LONGEST].rstrip("-")
        hint = f"; did you mean '{likely}'?" if likely and likely != name else ""
        raise InvalidRequest(
            f"{name!r} is no name for a plugin: 1 to {_LONGEST} of a-z, 0-9, '-' and '_', a letter first,"
            f" '-' and '_' only between others{hint}"
        )
    if name.startswith((_PREFIX, "tasker_")):
        short = name[len(_PREFIX) :]
        raise InvalidRequest(f"the package is called {_PREFIX}… by itself; name the plugin '{short}'")
    _refuse_taken(name)
    plain = name.replace("-", "_")
    return {
        "name": name,
        "dist": _PREFIX + name.replace("_", "-"),
        "package": f"tasker_{plain}",
        "namespace": plain,
        "requires": _requirement(),
    }


def _refuse_taken(name: str) -> None:
    from tasker_host.errors import InvalidRequest
    from tasker_host.plugins.candidate import installed
    from tasker_host.plugins.policy import reserved

    if why := reserved(name):
        raise InvalidRequest(f"{why}; choose another name")
    for candidate in installed():
        if candidate.name == name:
            raise InvalidRequest(
                f"a plugin '{name}' is installed already, from {candidate.dist} {candidate.version}; choose another"
                " name, or uninstall it"
            )


def _requirement() -> str:
    """This version of the host and what is compatible with it: before 1.0, the same minor version."""
    from packaging.version import Version

    from tasker_host.plugins.candidate import HOST, host_version

    version = Version(host_version() or "0")
    following = f"{version.major}.{version.minor + 1}" if version.major == 0 else f"{version.major + 1}"
    return f"{HOST}>={version.major}.{version.minor},<{following}"


def _write(folder: Path, words: dict[str, Any]) -> list[str]:
    """The paths that were written below `folder`: all of them or none. Raises InvalidRequest."""
    from tasker_host.errors import InvalidRequest

    if folder.exists() or folder.is_symlink():
        raise InvalidRequest(f"{folder} is there already; nothing was written. Remove it, or say --dir")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside it and then given its name, which is one act.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            draft = Path(made) / folder.name
            written = [_write_one(draft, path.format(**words), text, words) for path, text in _FILES.items()]
            draft.rename(folder)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be written: {error.strerror or error}") from None
    return written


def _write_one(folder: Path, path: str, text: str, words: dict[str, Any]) -> str:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    source = files("tasker_host.cli") / "scaffold" / f"{text}.txt"
    file.write_text(Template(source.read_text("utf-8")).substitute(words) if text else "", "utf-8")
    return path
