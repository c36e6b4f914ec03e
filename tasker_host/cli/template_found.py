"""What a command means by a template: a file, a folder, or a name that a plugin or the configuration gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_host.errors import InvalidRequest

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.domain.template import TaskTemplate
    from tasker_host.plugins import Roster
    from tasker_host.registry.compose import Registry
    from tasker_host.templates.findings import Report
    from tasker_host.templates.reading import Known


@dataclass(frozen=True, slots=True)
class Source:
    """A template and where it is from; `text` where it is a file, whose template may yet be none."""

    origin: str
    text: str | None = None
    template: TaskTemplate | None = None

    def parsed(self) -> TaskTemplate:
        """Raises TemplateError."""
        from tasker_host.domain.source import parse_template

        if self.template is not None:
            return self.template
        assert self.text is not None
        return parse_template(self.text, source=self.origin)[0]

    def report(self, known: Known | None) -> Report:
        from tasker_host.templates.check import check_template, check_text

        if self.text is not None:
            return check_text(self.text, source=self.origin, known=known)
        return check_template(self.parsed(), known=known)


class Templates:
    """What is there to be found; the configuration and the plugins are read when they are first needed."""

    def __init__(self, config_root: Path | None, env: str | None) -> None:
        self._where = config_root, env

    @cached_property
    def config(self) -> Config:
        from tasker_host.cli.running import quiet_logs
        from tasker_host.config import load

        config = load(self._where[0], env=self._where[1])
        quiet_logs(config)
        return config

    @cached_property
    def roster(self) -> Roster:
        from tasker_host.handlers.bound import bind
        from tasker_host.plugins import load_plugins

        return load_plugins(self.config, bind=bind)

    @cached_property
    def registry(self) -> Registry:
        """With the user's own templates as far as they can be read: one that cannot is told when it is asked for."""
        from tasker_host.errors import TemplateError
        from tasker_host.registry.build import registry_with

        own = []
        for source in self._own():
            try:
                own.append(source.parsed().for_environment(self.config.environment))
            except TemplateError:
                continue
        return registry_with(self.roster, self.config, own)

    @property
    def known(self) -> Known:
        from tasker_host.hooks.publisher import DEFAULT
        from tasker_host.templates.reading import Known

        return Known(self.registry.handler_of, frozenset(self.registry.publishers) | {DEFAULT})

    def all(self) -> list[Source]:
        """What plugins give, then the user's own."""
        given = [
            Source(f"plugin {given.plugin}", template=template)
            for given in self.roster.active()
            for template in given.templates
        ]
        return [*given, *self._own()]

    def find(self, target: str) -> list[Source]:
        """The file, the files of a folder, or the template of a name: `NAMESPACE/NAME`, or with `@1.2.0` that version.

        Raises InvalidRequest when there is none.
        """
        if target == "-":
            import sys

            return [Source("-", sys.stdin.read())]
        path = Path(target)
        if path.exists():
            found = _files(path)
            if not found:
                raise InvalidRequest(f"{target} has no .yaml or .yml file")
            return found
        return [self._named(target)]

    def one(self, target: str) -> TaskTemplate:
        """Raises InvalidRequest, also when the folder has several, and TemplateError."""
        found = self.find(target)
        if len(found) > 1:
            raise InvalidRequest(f"{target} has {len(found)} templates; name one file")
        return found[0].parsed()

    def _named(self, target: str) -> Source:
        from tasker_host.domain.suggest import did_you_mean

        key, _, version = target.partition("@")
        namespace, _, name = key.rpartition("/")
        wanted = version or self.registry.latest_version(namespace, name)
        for template in self.registry.templates():
            if (template.key, template.version) == (key, wanted):
                return Source(target, template=template)
        if target.endswith((".yaml", ".yml")) or not namespace:
            near = did_you_mean(target, [template.key for template in self.registry.templates()])
            raise InvalidRequest(f"no file '{target}', and no template named so{near}; names are NAMESPACE/NAME")
        hint = self.registry.suggestion(namespace, name, version or None)
        failed = [plugin.name for plugin in self.roster.plugins if plugin.faults]
        if not hint and failed:
            hint = f"; these plugins failed, see `tasker plugin list`: {', '.join(failed)}"
        raise InvalidRequest(f"no template '{target}'{hint or '; see `tasker template list`'}")

    def _own(self) -> list[Source]:
        return [source for path in self.config.settings.templates.paths for source in _files(Path(path))]


def _files(path: Path) -> list[Source]:
    from tasker_host.plugins.resources import template_files

    return [_read(Path(str(file))) for file in template_files(path)]


def _read(file: Path) -> Source:
    try:
        return Source(str(file), file.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{file} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from None


def sources(templates: Templates, targets: Iterable[str]) -> list[Source]:
    """What the targets mean; everything there is when none is named."""
    named = [source for target in targets for source in templates.find(target)]
    return named or templates.all()
