"""What a run left behind in the database, or wherever a test looks for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import asyncpg

from tasker_host.domain.json import dumps, loads
from tasker_host.errors import JsonError, Problem, RequestError

if TYPE_CHECKING:
    from asyncpg import Connection

Effect = str | Callable[..., Any]
Effects = Effect | Iterable[Effect] | None


async def measured(connection: Connection, effects: Effects, *, all_tables: bool = True) -> dict[str, Any]:
    """By name what each of `effects` finds: a query or a table's rows, or what a function of a connection returns.

    Without `effects` every table that is not ours (none without `all_tables`). Columns that count by themselves are
    left out of tables: what was rolled back uses up their numbers too.
    """
    if effects is None:
        if not all_tables:
            return {}
        names = [row["name"] for row in await connection.fetch("select name from tasker_kit.user_tables()")]
        return {name: await _rows_of_table(connection, name) for name in names}
    listed = [effects] if isinstance(effects, str) or callable(effects) else list(effects)
    found = {}
    for effect in listed:
        try:
            found[_name(effect)] = await _one(connection, effect)
        except asyncpg.PostgresError as error:
            told = f"{type(error).__name__}: {error}"
            raise RequestError("effects cannot be looked at", [Problem(_name(effect), told)]) from error
    return found


def _name(effect: Effect) -> str:
    return effect.strip() if isinstance(effect, str) else getattr(effect, "__name__", repr(effect))


async def _one(connection: Connection, effect: Effect) -> Any:
    if isinstance(effect, str):
        if not any(character.isspace() for character in effect.strip()):
            return await _rows_of_table(connection, effect.strip())
        return [_plain(dict(row)) for row in await connection.fetch(effect)]
    found = effect(connection) if _takes_one(effect) else effect()
    return _plain(await found if inspect.isawaitable(found) else found)


def _takes_one(function: Callable[..., Any]) -> bool:
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in inspect.signature(function).parameters.values()
    )


async def _rows_of_table(connection: Connection, name: str) -> list[Any]:
    columns = await connection.fetchval(
        "select columns from tasker_kit.user_tables() where name::regclass = $1::text::regclass", name
    )
    found = [_plain(dict(row)) for row in await connection.fetch(f"select {columns or '*'} from {name}")]  # noqa: S608
    return sorted(found, key=dumps)


def _plain(value: Any) -> Any:
    """As JSON has it; what JSON cannot hold as text."""
    try:
        return loads(dumps(value))
    except JsonError:
        if isinstance(value, dict):
            return {str(key): _plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(item) for item in value]
        return str(value)
