"""`tasker_routes`: what plugins answer below `/plugins/<name>/`."""

from __future__ import annotations

import httpx
import pytest

from tasker_host.plugins import Stage, Status
from tasker_host.server import create_app

ROUTES = """
    from litestar import Controller, Request, get, post
    from litestar.params import FromPath, JSONBody
    from tasker_host import hookimpl

    @get("/status")
    async def status(request: Request) -> dict[str, str]:
        "How the gateway is."
        return {"gateway": "up", "host": request.app.state.host.version}

    @post("/refunds/{order:int}")
    async def refund(order: FromPath[int], data: JSONBody[dict[str, int]]) -> dict[str, int]:
        return {"order": order, "cents": data["cents"]}

    @get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the gateway")

    class Orders(Controller):
        path = "/orders"

        @get("/")
        async def all(self) -> list[int]:
            return [1, 2]

    @hookimpl
    def tasker_routes():
        return [status, refund, broken, Orders]
"""


def client(host):
    transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://host")


async def test_routes_of_an_installed_plugin_are_served_below_its_name(install, installed_host):
    install("payments", ROUTES)
    async with installed_host() as host, client(host) as api:
        assert (await api.get("/plugins/payments/status")).json() == {"gateway": "up", "host": host.version}
        refunded = await api.post("/plugins/payments/refunds/7", json={"cents": 250})
        assert (refunded.status_code, refunded.json()) == (201, {"order": 7, "cents": 250})
        assert (await api.get("/plugins/payments/orders")).json() == [1, 2]
        described = (await api.get("/api-docs/openapi.json")).json()
    assert described["paths"]["/plugins/payments/status"]["get"]["description"] == "How the gateway is."
    assert described["paths"]["/plugins/payments/status"]["get"]["tags"] == ["plugin payments"]


async def test_what_a_route_raises_or_refuses_is_a_problem_document_without_its_secrets(install, installed_host):
    install("payments", ROUTES)
    async with installed_host() as host, client(host) as api:
        broken = await api.get("/plugins/payments/broken")
        wrong = await api.post("/plugins/payments/refunds/seven", json={"cents": 250})
        nothing = await api.get("/plugins/payments/nothing")
    assert broken.status_code == 500
    assert "secret of the gateway" not in broken.text
    assert wrong.status_code == 404
    assert nothing.status_code == 404
    for answer in (broken, wrong, nothing):
        assert answer.headers["content-type"] == "application/problem+json"


async def test_two_plugins_may_answer_the_same_below_their_own_names(install, installed_host):
    install("payments", ROUTES)
    install("refunds", ROUTES)
    async with installed_host() as host, client(host) as api:
        for name in ("payments", "refunds"):
            assert (await api.get(f"/plugins/{name}/orders")).json() == [1, 2]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("[5]", 'gave 5 (int), not a Litestar route handler: put @get("/path") or the like on a function'),
        ("[plain]", "plain"),
        ("'abc'", "return a list"),
        ("[status, again]", "status and again both answer GET /status; change the path of one of them"),
        ("[number, Router('/', route_handlers=[order])]", "number and order both answer GET /orders/{y:int}"),
        ("[Twice]", "must be unique in a controller"),
        ("[undescribed]", "tasker_routes:"),
        ("1 / 0", "tasker_routes: ZeroDivisionError"),
    ],
)
def test_wrong_routes_are_faults_at_start_up(install, roster, given, told):
    install(
        "payments",
        f"""
        from litestar import Controller, Router, get
        from litestar.params import FromPath
        from tasker_host import hookimpl

        @get("/orders/{{x:int}}")
        async def number(x: FromPath[int]) -> str:
            return "up"

        @get("/orders/{{y:int}}")
        async def order(y: FromPath[int]) -> str:
            return "up"

        class Twice(Controller):
            @get("/a")
            async def one(self) -> str:
                return "up"

            @get("/a")
            async def two(self) -> str:
                return "up"

        @get("/status")
        async def status() -> str:
            return "up"

        @get("/status")
        async def again() -> str:
            return "up"

        class Odd:
            def __init__(self, x): ...

        @get("/odd")
        async def undescribed(odd: Odd) -> str:
            return "up"

        async def plain(): ...

        @hookimpl
        def tasker_routes():
            return {given}
        """,
    )
    plugin = roster().plugin("payments")
    (fault,) = plugin.faults
    assert (plugin.status, fault.stage, fault.hook) == (Status.FAILED, Stage.COLLECT, "tasker_routes")
    assert told in str(fault)
