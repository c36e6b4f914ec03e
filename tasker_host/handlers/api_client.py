"""What handlers ask other systems with, on behalf of one attempt at a step."""

from __future__ import annotations

from typing import Any

from tasker_host.handlers.api_options import Attempt
from tasker_host.handlers.api_pool import ApiPool
from tasker_host.handlers.api_response import ApiOutcomes, ApiResponse


class ApiClient(ApiOutcomes):
    """Asks for one attempt at a step, from a thread. A `path` is below the handler's base url, or a whole url.

    Further arguments are those of `httpx.Client.request`: `content`, `files`, `cookies`, `timeout`, `auth` …
    """

    def __init__(self, pool: ApiPool, attempt: Attempt | None = None) -> None:
        self._pool = pool
        self._attempt = attempt

    def get(self, path: str, params: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return self.request("GET", path, params=params, headers=headers, **more)

    def post(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return self.request("POST", path, json=json, data=data, headers=headers, **more)

    def put(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return self.request("PUT", path, json=json, data=data, headers=headers, **more)

    def patch(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return self.request("PATCH", path, json=json, data=data, headers=headers, **more)

    def delete(self, path: str, headers: Any = None, **more: Any) -> ApiResponse:
        return self.request("DELETE", path, headers=headers, **more)

    def request(self, method: str, path: str, **more: Any) -> ApiResponse:
        return self._pool.request(self._attempt, method, path, **more)


class AsyncApiClient(ApiOutcomes):
    """`ApiClient` for async handlers: each request is awaited."""

    def __init__(self, pool: ApiPool, attempt: Attempt | None = None) -> None:
        self._pool = pool
        self._attempt = attempt

    async def get(self, path: str, params: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return await self.request("GET", path, params=params, headers=headers, **more)

    async def post(
        self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any
    ) -> ApiResponse:
        return await self.request("POST", path, json=json, data=data, headers=headers, **more)

    async def put(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> ApiResponse:
        return await self.request("PUT", path, json=json, data=data, headers=headers, **more)

    async def patch(
        self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any
    ) -> ApiResponse:
        return await self.request("PATCH", path, json=json, data=data, headers=headers, **more)

    async def delete(self, path: str, headers: Any = None, **more: Any) -> ApiResponse:
        return await self.request("DELETE", path, headers=headers, **more)

    async def request(self, method: str, path: str, **more: Any) -> ApiResponse:
        return await self._pool.arequest(self._attempt, method, path, **more)
