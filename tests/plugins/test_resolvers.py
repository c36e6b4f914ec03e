"""`tasker_resolvers`: handlers that plugins find for templates in a way of their own."""

from __future__ import annotations

from typing import Annotated

import pytest

from tasker_host import From, Handler, Resolver, StepHandler, decision_handler, depends_on, step_handler
from tasker_host.plugins import Stage, Status
from tests.support import chain, plugin, results, run_to_end, running_host

CATALOGUE = """
    from pydantic import BaseModel
    from tasker_host import Resolver, StepHandler, hookimpl

    class Settings(BaseModel):
        region: str = "eu"

    class Charge(StepHandler):
        def __init__(self, settings: Settings):
            self.region = settings.region

        def call(self, context):
            return {"charged in": self.region}

        def refund(self, context):
            return {"refunded in": self.region}

    @hookimpl
    def tasker_settings():
        return Settings

    @hookimpl
    def tasker_resolvers(settings):
        return [Resolver("services", lambda definition: Charge if "://" in definition.callable else None)]
"""

SHOP = """
    import importlib.resources
    from tasker_host import hookimpl

    @hookimpl
    def tasker_templates(settings):
        return [importlib.resources.files("acme_shop")]
"""

TEMPLATE = """
name: pay
namespace_name: tests
version: 1.0.0
steps:
  - {name: charge, handler: {callable: "service://charge"}}
  - {name: refund, handler: {callable: "service://charge", method: refund, resolver: services}, dependencies: [charge]}
"""


async def test_a_resolver_of_one_installed_plugin_finds_handlers_for_the_template_of_another(install, installed_host):
    install("catalogue", CATALOGUE)
    install("shop", SHOP, templates={"pay.yaml": TEMPLATE})
    async with installed_host(plugins__catalogue={"settings": {"region": "us"}}) as host:
        assert host.roster.plugin("catalogue").contribution.gives() == {"resolvers": 1}
        row = await run_to_end(host, "pay")
    assert results(row) == {"charge": {"charged in": "us"}, "refund": {"refunded in": "us"}}


async def test_a_template_whose_handler_cannot_be_resolved_is_unavailable_and_says_why(dsn):
    def broken(definition):
        raise OSError("no catalogue")

    given = plugin([], [chain("t", "service.charge")], tasker_resolvers=lambda: [Resolver("services", broken)])
    async with running_host(dsn, given) as host:
        (problem,) = host.registry.problems("tests", "t", None)
    assert str(problem) == (
        "template tests/t 1.0.0, step 'service.charge': resolver 'services' of plugin 'p0' raised OSError for"
        " 'service.charge': no catalogue"
    )


@pytest.mark.parametrize(
    ("given", "stage", "told"),
    [
        ("[5]", Stage.COLLECT, "gave 5 (int), not a Resolver"),
        ("[Resolver('a', 5)]", Stage.COLLECT, "resolver 'a': resolve must be a function (got 5 (int))"),
        ("[Resolver('', print)]", Stage.COLLECT, "the name of a resolver must be text (got '')"),
        ("[Resolver('a', print, priority=10)]", Stage.COLLECT, "priority must be a whole number, 11 to 99 (got 10)"),
        ("[Resolver('a', print, priority=100)]", Stage.COLLECT, "priority must be a whole number, 11 to 99 (got 100"),
        (
            "[Resolver('a', print, priority='50')]",
            Stage.COLLECT,
            "priority must be a whole number, 11 to 99",
        ),
        ("[Resolver('a', later)]", Stage.COLLECT, "resolver 'a': resolve must not be async"),
        ("[Resolver('a', print), Resolver('a', print)]", Stage.COLLECT, "two resolvers are named 'a'"),
        (
            "[Resolver('class_lookup', print)]",
            Stage.NAMES,
            "resolver 'class_lookup' is already given by the host",
        ),
        ("[Resolver('services', print)]", Stage.NAMES, "resolver 'services' is already given by plugin 'alpha'"),
        ("1 / 0", Stage.COLLECT, "ZeroDivisionError"),
    ],
)
def test_wrong_resolvers_are_faults_at_start_up(install, roster, given, stage, told):
    head = (
        "from tasker_host import *\nasync def later(definition): ...\n@hookimpl\ndef tasker_resolvers():\n    return "
    )
    install("alpha", f"{head}[Resolver('services', print)]")
    install("beta", f"{head}{given}")
    found = roster()
    assert found.plugin("alpha").status is Status.ACTIVE
    (fault,) = found.plugin("beta").faults
    assert (fault.stage, fault.hook) == (stage, "tasker_resolvers")
    assert told in str(fault)


# What a handler must be for a step ------------------------------------------------------------------------------------


class Configured(StepHandler):
    handler_name = "configured"

    def config_schema(self):
        return {"type": "object", "required": ["region"], "properties": {"region": {"enum": ["eu", "us"]}}}

    def call(self, context):
        return context.get_config("region")


@decision_handler("decides")
def decides():
    return None


@step_handler("far", runs_in="clustr")
def far():
    return None


def one_step(handler: str) -> str:
    return f"name: t\nnamespace_name: tests\nversion: 1.0.0\nsteps:\n  - {{name: s, handler: {{{handler}}}}}"


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (
            "callable: decides",
            "handler 'decides' is a decision, and the step is of type standard; write",
        ),
        (
            "callable: configured",
            "handler 'configured' cannot be configured so: initialization: 'region' is a req",
        ),
        (
            "callable: configured, initialization: {region: mars}",
            "handler 'configured' cannot be configured so: initialization.region: 'mars' is not one of ['eu', 'us']",
        ),
        (
            "callable: farr",
            "runs_in is 'clustr', and nobody gives an executor of that name; there are loop",
        ),
    ],
)
async def test_a_handler_that_does_not_fit_its_step_makes_the_template_unavailable(dsn, handler, told):
    resolver = Resolver("far", lambda definition: far if definition.callable == "farr" else None)
    given = plugin([decides, Configured], [one_step(handler)], tasker_resolvers=lambda: [resolver])
    async with running_host(dsn, given) as host:
        (problem,) = host.registry.problems("tests", "t", None)
    assert told in str(problem)


@step_handler("reads")
def reads(
    price: Annotated[int, From("price")], part: Annotated[int, From("work_001")], more: Annotated[int, From("tax")] = 0
):
    return price


READS = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {name: price, handler: {callable: gives}}
  - {name: cut, handler: {callable: gives}, type: batchable}
  - {name: work, handler: {callable: gives}, type: batch_worker, dependencies: [cut]}
  - {name: join, handler: {callable: reads}, type: deferred_convergence, dependencies: [work]}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (READS, ["which is not above it; add it to dependencies"]),
        (READS.replace("price", "prices"), ["which the template does not have; did you mean 'prices'?"]),
        (READS.replace("[work]", "[price]"), ["'part' reads step 'work_001', which the template does not have"]),
        (READS.replace("[work]", "[work, price]"), []),
    ],
)
async def test_a_handler_whose_values_never_come_makes_the_template_unavailable(dsn, text, told):
    gives = Handler("gives", lambda: 1)
    async with running_host(dsn, plugin([gives, reads], [text])) as host:
        found = host.registry.problems("tests", "t", None)
    assert len(found) == len(told)
    for problem, end in zip(found, told, strict=True):
        assert end in str(problem)


async def test_the_workers_of_a_batch_are_not_read_by_the_name_of_their_step(dsn):
    by_name = Handler("reads", depends_on(work="work")(lambda work: work))
    async with running_host(dsn, plugin([Handler("gives", lambda: 1), by_name], [READS])) as host:
        (problem,) = host.registry.problems("tests", "t", None)
    assert "whose workers have values of their own, as 'work_001'; read them from the context" in str(problem)


async def test_a_handler_that_is_configured_as_it_says_runs(dsn):
    given = plugin([Configured], [one_step("callable: configured, initialization: {region: eu}")])
    async with running_host(dsn, given) as host:
        assert results(await run_to_end(host, "t")) == {"s": "eu"}


async def test_handlers_are_closed_when_the_host_stops_also_when_one_cannot_be(dsn):
    closed = []

    class Opens(StepHandler):
        handler_aliases = ("again",)

        def call(self, context):
            return None

        async def close(self):
            closed.append("opens")

    class Fails(StepHandler):
        def call(self, context):
            return None

        def close(self):
            raise OSError("stuck")

    class Found(StepHandler):
        def call(self, context):
            return None

        def close(self):
            closed.append("found")

    resolver = Resolver("any", lambda definition: Found if definition.callable == "found" else None)
    given = plugin([Fails, Opens], [chain("t", "found")], tasker_resolvers=lambda: [resolver])
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        assert closed == []
    assert closed == ["opens", "found"]
