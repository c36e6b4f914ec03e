"""`tasker_executors`: where handlers run that say so."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from tasker_host import Executor, PermanentError, StepContext, StepHandler, step_handler
from tasker_host.plugins import Stage, Status
from tests.support import chain, plugin, results, run_to_end, running_host


def executing(*executors: Executor):
    return plugin([], tasker_executors=lambda: list(executors))


def error_of(row):
    (step,) = row["steps"]
    return step["error"]


GPU = """
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import asynccontextmanager
    from tasker_host import Executor, hookimpl

    pool = ThreadPoolExecutor(1, thread_name_prefix="gpu")

    @hookimpl
    def tasker_executors():
        return [Executor("gpu", pool.submit, is_remote=False)]

    @hookimpl
    @asynccontextmanager
    async def tasker_lifespan():
        yield
        pool.shutdown()
"""

USER = """
    import threading
    from tasker_host import Handler, TaskTemplate, hookimpl

    class Model:
        "Cannot be sent anywhere."
        def __init__(self):
            self.lock = threading.Lock()

        def where(self):
            return threading.current_thread().name

    @hookimpl
    def tasker_handlers():
        return [Handler("user.where", Model().where, runs_in="gpu")]

    @hookimpl
    def tasker_templates():
        from importlib.resources import files
        return [files(__name__)]
"""

TEMPLATE = """
    name: where
    namespace_name: tests
    version: 1.0.0
    steps:
      - {name: where, handler: {callable: user.where}}
"""


async def test_an_executor_of_one_installed_plugin_runs_the_handler_of_another(install, installed_host):
    install("hardware", GPU)
    install("user", USER, templates={"where.yaml": TEMPLATE})
    async with installed_host() as host:
        assert results(await run_to_end(host, "where")) == {"where": "gpu_0"}
        assert host.roster.plugin("hardware").contribution.gives() == {"executors": 1}


def test_threads_and_processes_come_through_the_same_hook():
    from tasker_host.config import load
    from tasker_host.handlers.bound import bind
    from tasker_host.plugins import load_plugins
    from tasker_host.worker.builtin import own_plugin

    config = load(env="test", environ={})
    (own,) = load_plugins(config, bind=bind, own=own_plugin(config), entry_points=False).plugins
    assert (own.name, own.status) == ("host", Status.ACTIVE)
    assert [executor.name for executor in own.contribution.executors] == ["thread", "process"]


# Elsewhere ------------------------------------------------------------------------------------------------------------


@step_handler("pid", runs_in="pool")
async def pid(context: StepContext) -> dict[str, Any]:
    return {"pid": os.getpid(), "n": context.get_input("n")}


class Refuses(StepHandler):
    handler_name = "refuses"
    runs_in = "pool"

    def call(self, context: StepContext) -> Any:
        raise PermanentError("no", error_code="NOT_TODAY")

    def unsendable(self, context: StepContext) -> Any:
        return threading.Lock()


class Odd(Exception):
    """Can be written by pickle and not be read again."""

    def __init__(self, one, two):
        super().__init__(f"{one}{two}")


@step_handler("odd", runs_in="pool")
def odd() -> None:
    raise Odd("a", "b")


@pytest.fixture(scope="module")
def pool():
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield pool


async def test_a_remote_executor_is_given_what_pickle_can_send(dsn, pool):
    """As a Dask cluster is used: by an executor of the standard library's kind."""
    made = plugin([pid], [chain("t", "pid")])
    async with running_host(dsn, made, executing(Executor("pool", pool.submit))) as host:
        value = results(await run_to_end(host, "t", {"n": 7}))["pid"]
    assert value["n"] == 7
    assert value["pid"] in pool._processes


async def test_what_it_raises_there_is_the_failure_of_the_step(dsn, pool):
    method = chain("m", "refuses").replace("callable: refuses", "callable: refuses, method: unsendable")
    made = plugin([Refuses, odd], [chain("t", "refuses"), chain("o", "odd", max_attempts=1), method])
    async with running_host(dsn, made, executing(Executor("pool", pool.submit))) as host:
        refused = error_of(await run_to_end(host, "t"))
        strange = error_of(await run_to_end(host, "o"))
        lock = error_of(await run_to_end(host, "m"))
    assert (refused["message"], refused["error_code"], refused["retryable"]) == ("no", "NOT_TODAY", False)
    assert strange["message"] == "ab"
    assert "pickle" in lock["message"]


async def test_an_executor_may_be_async_and_make_the_call_where_it_is(dsn):
    told: list[Any] = []

    async def submit(call):
        told.append((call.handler, call.context.step_name, call.timeout_seconds))
        return pickle.loads(pickle.dumps(call))()

    made = plugin([pid], [chain("t", "pid") + "\n    timeout_seconds: 9"])
    async with running_host(dsn, made, executing(Executor("pool", submit))) as host:
        assert results(await run_to_end(host, "t"))["pid"]["pid"] == os.getpid()
    assert told == [("pid", "pid", 9)]


# What may go wrong ----------------------------------------------------------------------------------------------------


def broken(call):
    raise ConnectionError("no scheduler")


async def dropped(call):
    raise asyncio.CancelledError


def cancelled(call):
    future: Future[Any] = Future()
    future.cancel()
    return future


async def another(call):
    return {"value": 5}


@pytest.mark.parametrize(
    ("submit", "told"),
    [
        (broken, "ConnectionError: no scheduler"),
        (dropped, "it cancelled the call"),
        (cancelled, "it cancelled the call"),
        (another, "what call() returned"),
        (lambda call: None, "submit returned None; it must return a future, or something to await"),
    ],
)
async def test_what_the_executor_does_instead_may_be_tried_again(dsn, submit, told):
    made = plugin([pid], [chain("t", "pid", max_attempts=2, backoff="none")])
    async with running_host(dsn, made, executing(Executor("pool", submit))) as host:
        row = await run_to_end(host, "t")
    error = error_of(row)
    assert row["steps"][0]["attempts"] == 2
    assert (error["error_code"], error["retryable"]) == ("EXECUTOR_FAILED", True)
    assert error["message"].startswith("executor 'pool' did not run handler 'pid': ")
    assert told in error["message"]


async def test_a_step_that_overruns_cancels_its_future_and_its_time_begins_when_it_is_submitted(dsn):
    futures: list[Future[Any]] = []

    def never(call):
        futures.append(Future())
        return futures[-1]

    made = plugin([pid], [chain("t", "pid", max_attempts=1) + "\n    timeout_seconds: 0.2"])
    async with running_host(dsn, made, executing(Executor("pool", never))) as host:
        error = error_of(await run_to_end(host, "t"))
    assert error["error_type"] == "timeout"
    assert futures[0].cancelled()


async def test_time_in_line_does_not_count_where_the_executor_tells_when_it_begins(dsn):
    waiting: list[tuple[Any, Future[Any]]] = []
    submitted = asyncio.Event()

    def later(call):
        waiting.append((call, Future()))
        submitted.set()
        return waiting[-1][1]

    made = plugin([pid], [chain("t", "pid", max_attempts=1) + "\n    timeout_seconds: 0.2"])
    async with running_host(dsn, made, executing(Executor("pool", later, tells_began=True))) as host:
        ended = asyncio.create_task(run_to_end(host, "t"))
        await submitted.wait()
        [running] = host.worker._slots._running.values()
        assert running.overrun_at == float("inf")
        call, future = waiting[0]
        call.began()
        assert running.overrun_at < float("inf")
        future.set_result(call())
        assert (await ended)["status"] == "complete"


async def test_a_call_of_this_process_that_overruns_is_counted_as_left_behind(dsn):
    hang = threading.Event()

    @step_handler("hangs", runs_in="own")
    def hangs() -> None:
        hang.wait()

    with ThreadPoolExecutor(1) as own:
        made = plugin([hangs], [chain("t", "hangs", max_attempts=1) + "\n    timeout_seconds: 0.2"])
        async with running_host(dsn, made, executing(Executor("own", own.submit, is_remote=False))) as host:
            assert error_of(await run_to_end(host, "t"))["error_type"] == "timeout"
            assert host.worker.abandoned_threads == 1
        hang.set()


# Faults ---------------------------------------------------------------------------------------------------------------

HANDLER = """
    from tasker_host import hookimpl, step_handler

    @step_handler("user.work", runs_in="{}")
    def work():
        return 1

    @hookimpl
    def tasker_handlers():
        return [work]
"""


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("gpuu", "did you mean 'gpu'?"),
        ("tread", "did you mean 'thread'?"),
        ("dask", "there are loop, gpu, process, th"),
    ],
)
def test_an_executor_that_nobody_gives_fails_the_plugin_that_names_it(install, roster, named, hint):
    install("hardware", GPU)
    install("user", HANDLER.format(named))
    found = roster()
    assert found.plugin("hardware").status is Status.ACTIVE
    (fault,) = found.plugin("user").faults
    assert (fault.stage, fault.hook) == (Stage.NAMES, "tasker_handlers")
    assert fault.error == (
        f"handler 'user.work' (acme_user.work): runs_in is '{named}', and nobody gives an executor of that name"
    )
    assert hint in fault.hint


def test_plugins_fail_with_the_one_whose_executor_they_use_however_long_the_chain(install, roster):
    source = """
        from tasker_host import *

        def work():
            return 1

        @hookimpl
        def tasker_handlers():
            return [Handler("{0}.work", work, runs_in="{1}")]

        @hookimpl
        def tasker_executors():
            return [Executor("{0}", print)]
    """
    for name, named in (("one", "two"), ("three", "nobody"), ("two", "three")):
        install(name, source.format(name, named))
    found = roster()
    assert [plugin.status for plugin in found.plugins] == [Status.FAILED] * 3
    assert [fault.error.split("runs_in is ")[1] for plugin in found.plugins for fault in plugin.faults] == [
        f"'{named}', and nobody gives an executor of that name" for named in ("two", "nobody", "three")
    ]


async def test_a_plugin_fails_when_the_one_whose_executor_it_uses_cannot_open(install, installed_host):
    install("hardware", GPU.replace("        yield\n", "        raise OSError('no device')\n        yield\n"))
    install("user", USER, templates={"where.yaml": TEMPLATE})
    async with installed_host() as host:
        assert [fault.stage for fault in host.roster.plugin("hardware").faults] == [Stage.LIFESPAN]
        assert "nobody gives an executor" in str(host.roster.plugin("user").faults[0])
        assert host.registry.templates() == []


@pytest.mark.parametrize(
    ("given", "stage", "told"),
    [
        ("[5]", Stage.COLLECT, "tasker_executors: gave 5 (int), not an Executor"),
        ("[Executor('a', 5)]", Stage.COLLECT, "executor 'a': submit must be a function (got 5 (int))"),
        ("[Executor('a', lambda: 1)]", Stage.COLLECT, "executor 'a': submit must take one argument, the call"),
        ("[Executor('', print)]", Stage.COLLECT, "the name of an executor must be text (got '')"),
        ("[Executor('loop', print)]", Stage.COLLECT, "executor 'loop': that is the event loop; choose another name"),
        ("[Executor('a', print, is_remote=1)]", Stage.COLLECT, "is_remote must be True or False (got 1)"),
        ("[Executor('a', print), Executor('a', print)]", Stage.COLLECT, "two executors are named 'a'"),
        ("[Executor('alpha', print)]", Stage.NAMES, "executor 'alpha' is already given by plugin 'alpha'"),
        ("1 / 0", Stage.COLLECT, "tasker_executors: ZeroDivisionError"),
    ],
)
def test_wrong_executors_are_faults_at_start_up(install, roster, given, stage, told):
    source = "from tasker_host import *\n@hookimpl\ndef tasker_executors():\n    return {}\n"
    install("alpha", source.format("[Executor('alpha', print)]"))
    install("beta", source.format(given))
    (fault,) = roster().plugin("beta").faults
    assert (fault.stage, fault.hook) == (stage, "tasker_executors")
    assert told in str(fault)


async def test_the_hosts_own_executors_cannot_be_replaced(install, installed_host):
    install(
        "beta", "from tasker_host import *\n@hookimpl\ndef tasker_executors():\n    return [Executor('thread', print)]"
    )
    async with installed_host() as host:
        (fault,) = host.roster.plugin("beta").faults
    assert (fault.stage, fault.error) == (Stage.NAMES, "executor 'thread' is already given by the host itself")
