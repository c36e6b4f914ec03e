"""Which candidates are imported, by the configuration alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasker_host.config import Config, PluginSettings
from tasker_host.config.settings import PluginsSettings
from tasker_host.domain.suggest import did_you_mean
from tasker_host.plugins.candidate import GIVEN, Candidate, version_fault
from tasker_host.plugins.fault import Fault, Stage
from tasker_host.plugins.roster import OWN, Plugin, Status

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = set(PluginsSettings.model_fields) - {"named"}


@dataclass(frozen=True, slots=True)
class Decision:
    """`candidate` is to be loaded; without one, `plugin` says already what became of it."""

    plugin: Plugin
    candidate: Candidate | None = None


def decide(candidates: Iterable[Candidate], config: Config, *, version: str) -> list[Decision]:
    """A decision about every plugin that was found or that the configuration names, by name.

    `version` is the host's; empty when it is not known, and then not compared.
    """
    by_name: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_name[candidate.name].append(candidate)
    decisions = [_about(found, config, version) for found in by_name.values()]
    decisions += [Decision(plugin) for plugin in _not_found(config, by_name)]
    # Name order, not discovery order: entry points come in sys.path order, which differs between machines.
    return sorted(decisions, key=lambda decision: decision.plugin.name)


def _about(found: list[Candidate], config: Config, version: str) -> Decision:
    first = found[0]
    section = config.settings.plugins.named.get(first.name)
    dists = ", ".join(sorted({candidate.dist for candidate in found}))
    plugin = Plugin(
        first.name,
        Status.ACTIVE,
        dists,
        first.version if len(found) == 1 else "",
        first.module if len(found) == 1 else "",
        section is not None and section.required,
    )
    note = "" if section is None and first.dist == GIVEN else _why_disabled(first.name, section, config)
    if note:
        return Decision(_with(plugin, Status.DISABLED, note=note))
    fault = first.fault or _name_fault(found) or version_fault(first, version)
    if fault is not None:
        return Decision(_with(plugin, Status.REFUSED, fault))
    return Decision(plugin, first)


def _with(plugin: Plugin, status: Status, *faults: Fault, note: str = "") -> Plugin:
    return Plugin(
        plugin.name, status, plugin.dist, plugin.version, plugin.module, plugin.required, tuple(faults), note=note
    )


def _why_disabled(name: str, section: PluginSettings | None, config: Config) -> str:
    if section is None:
        if config.settings.plugins.autoload:
            return ""
        return f"[plugins] autoload is false ({config.origin('plugins', 'autoload')}) and there is no [plugins.{name}]"
    if section.enabled:
        return ""
    return f"[plugins.{name}] enabled is false ({config.origin('plugins', name, 'enabled')})"


def _name_fault(found: list[Candidate]) -> Fault | None:
    name = found[0].name
    if len(found) > 1:
        owners = " and ".join(f"{candidate.dist} ({candidate.module})" for candidate in found)
        return Fault(Stage.DISCOVERY, f"the name '{name}' is claimed twice: by {owners}", hint="uninstall one of them")
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name for a plugin: letters, digits, '.', '_' and '-' only, a letter or digit first"
        return Fault(Stage.DISCOVERY, message, hint=f"rename the entry point of {found[0].dist}")
    if message := reserved(name):
        return Fault(Stage.DISCOVERY, message, hint=f"rename the entry point of {found[0].dist}")
    return None


def reserved(name: str) -> str:
    """Why no plugin may have this name; empty when one may."""
    if name == OWN:
        return f"'{name}' is the host itself and cannot be the name of a plugin"
    if name in _RESERVED:
        return f"'{name}' is a key of [plugins] and cannot be the name of a plugin"
    return ""


def _not_found(config: Config, found: dict[str, list[Candidate]]) -> Iterator[Plugin]:
    for name, section in config.settings.plugins.named.items():
        if name in found:
            continue
        if not section.enabled:
            yield Plugin(name, Status.DISABLED, note=_why_disabled(name, section, config))
            continue
        origin = config.origin("plugins", name)
        hint = did_you_mean(name, found).removeprefix("; ") or f"install it, or remove [plugins.{name}]"
        fault = Fault(
            Stage.DISCOVERY, f"no installed distribution has a plugin named '{name}' (named by {origin})", hint=hint
        )
        yield Plugin(name, Status.MISSING, required=section.required, faults=(fault,))
