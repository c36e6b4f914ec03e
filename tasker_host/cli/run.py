"""`tasker run`: a host, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tasker_host.cli.options import TaskerCommand, config_options, json_option
from tasker_host.cli.scaling import Processes, scale
from tasker_host.cli.scaling import processes as read_processes

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.host import Host
    from tasker_host.runtime.children import Children

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# What a child needs to stop and report after its grace period, before it is killed.
_CHILD_SLACK_SECONDS = 10.0


@click.command("run", cls=TaskerCommand)
@click.option(
    "--processes",
    callback=read_processes,
    metavar="N|MIN..MAX",
    default="1",
    show_default=True,
    help="Worker processes: so many, or as many as the work asks for between two numbers.",
)
@click.option("--worker-id", metavar="NAME", help="Name of this worker in leases and history. [default: worker.id]")
@click.option("--host", "address", metavar="ADDRESS", help="Address to serve HTTP on. [default: web.host]")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to serve HTTP on; 0: any free one. [default: web.port]"
)
@click.option("--no-web", is_flag=True, help="Run steps only, without HTTP.")
@click.option("--child", is_flag=True, hidden=True)
@config_options
@json_option
def run(  # noqa: PLR0917 - one parameter an option
    processes: Processes,
    worker_id: str | None,
    address: str | None,
    port: int | None,
    no_web: bool,
    child: bool,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Serve: run steps, answer HTTP, until SIGTERM or Ctrl-C; a second one cuts the stop short."""
    from tasker_host.cli.running import run_async
    from tasker_host.config import load
    from tasker_host.runtime.logs import configure_logs

    overrides: dict[str, Any] = {}
    if worker_id is not None:
        overrides["worker.id"] = worker_id
    if address is not None:
        overrides["web.host"] = address
    if port is not None:
        overrides["web.port"] = port
    if no_web:
        overrides["web.enabled"] = False
    config = load(config_root, env=env, overrides=overrides)
    telemetry = config.settings.telemetry
    configure_logs(telemetry.log_level.value, "json" if as_json else telemetry.log_format.value)
    arguments = [*(["--config", str(config_root)] if config_root else []), *(["--env", env] if env else [])]
    run_async(_serve(config, processes, arguments, is_child=child))


async def _serve(config: Config, processes: Processes, arguments: list[str], *, is_child: bool) -> None:
    import structlog

    from tasker_host.host import Host
    from tasker_host.runtime.children import Children, when_parent_ends
    from tasker_host.runtime.garbage import spare_what_is_loaded
    from tasker_host.server import Server

    log = structlog.get_logger("tasker.host")
    async with contextlib.AsyncExitStack() as stack:
        told = _Told()
        stack.callback(told.listen())
        host = await stack.enter_async_context(Host(config))
        children = Children(
            ["run", "--child", "--no-web", *arguments],
            _environment(host),
            grace_seconds=config.settings.worker.shutdown_grace_seconds + _CHILD_SLACK_SECONDS,
        )
        url = None
        if config.settings.web.enabled:
            server = Server(host)
            url = await server.start()
            stack.push_async_callback(server.stop)
        if is_child:
            when_parent_ends(told.once)
        children.scale(processes.least - 1)
        spare_what_is_loaded()
        log.info(
            "host is ready",
            url=url,
            worker=str(host),
            namespaces=host.catalog.namespaces(),
            processes=processes.least if processes.least == processes.most else str(processes),
        )
        async with _scaled(host, children, processes):
            await told.stop.wait()
        log.info("host is stopping", worker=str(host), grace_seconds=config.settings.worker.shutdown_grace_seconds)
        host.stop_claiming()
        told.again = lambda: _cut_short(host, children)
        await _drained(host, children)
    log.info("host has stopped")


class _Told:
    """What signals said: `stop` is set by the first, `again` is called by each later one."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.again: Callable[[], None] = lambda: None

    def once(self) -> None:
        if self.stop.is_set():
            self.again()
        self.stop.set()

    def listen(self) -> Callable[[], None]:
        """Listens to signals until the returned function is called."""
        loop = asyncio.get_running_loop()
        if sys.platform == "win32":
            return lambda: None
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.once)

        def listen_no_more() -> None:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

        return listen_no_more


def _cut_short(host: Host, children: Children) -> None:
    host.stop_claiming(grace_seconds=0)
    children.stop()


@contextlib.asynccontextmanager
async def _scaled(host: Host, children: Children, processes: Processes) -> AsyncIterator[None]:
    if processes.least == processes.most:
        yield
        return
    from tasker_host.runtime.supervise import Supervisor

    supervisor = Supervisor()
    supervisor.start("processes", lambda: scale(host, children, processes))
    try:
        yield
    finally:
        await supervisor.stop()


async def _drained(host: Host, children: Children) -> None:
    """While running steps end, HTTP goes on answering that the host is stopping."""
    await asyncio.gather(children.ended(), host.drained())


def _environment(host: Host) -> Callable[[int], dict[str, str]]:
    """What differs for each child: it uses our database, which is ready, and is a worker of its own."""
    own_id = host.config.settings.worker.id
    shared = {
        "TASKER__DATABASE__URL": host.database.dsn,
        "TASKER__DATABASE__AUTO_MIGRATE": "never",
        "TASKER__DATABASE__LISTEN_URL": host.config.settings.database.listen_url,
    }
    return lambda number: {**shared, **({"TASKER__WORKER__ID": f"{own_id}-{number}"} if own_id else {})}
