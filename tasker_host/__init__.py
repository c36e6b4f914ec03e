"""tasker-host: a workflow engine for Python people who already run PostgreSQL.

The names below are what plugins import. Each is loaded when it is first used, so that importing the package costs
nothing to those who need little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_host.lazy import lazy_names

if TYPE_CHECKING:
    from tasker_host.client import Client, SyncClient
    from tasker_host.domain.batches import BatchConfig, Batches, BatchWorkerContext, Cursor
    from tasker_host.domain.context import StepContext
    from tasker_host.domain.event import DomainEvent
    from tasker_host.domain.result import Checkpoint, Decision, Failed, StepResult, Succeeded
    from tasker_host.domain.template import TaskTemplate
    from tasker_host.errors import (
        AuthenticationError,
        AuthorizationError,
        BusinessLogicError,
        ConfigurationError,
        NetworkError,
        NotFoundError,
        PermanentError,
        RateLimitError,
        ResourceContentionError,
        RetryableError,
        ServiceUnavailableError,
        StepTimeoutError,
        StepValidationError,
        TargetGone,
    )
    from tasker_host.handlers.aggregation import BatchAggregationScenario, BatchWorkerOutcome
    from tasker_host.handlers.api import ApiHandler, api_handler
    from tasker_host.handlers.api_client import ApiClient, AsyncApiClient
    from tasker_host.handlers.api_response import (
        ApiConnectionError,
        ApiError,
        ApiResponse,
        ApiTimeoutError,
        CircuitOpenError,
    )
    from tasker_host.handlers.batchable import Batchable
    from tasker_host.handlers.decision import DecisionHandler
    from tasker_host.handlers.declare import (
        From,
        Input,
        batch_analyzer,
        batch_worker,
        decision_handler,
        depends_on,
        inputs,
        step_handler,
    )
    from tasker_host.handlers.step import StepHandler
    from tasker_host.handlers.workflow import Workflow, workflow
    from tasker_host.hooks.publisher import EventPublisher
    from tasker_host.hooks.records import (
        Classifier,
        Executor,
        Handler,
        HealthCheck,
        Middleware,
        Publisher,
        Resolver,
        Subscriber,
    )
    from tasker_host.hooks.relay import Relay
    from tasker_host.hooks.specs import hookimpl
    from tasker_host.host import Host

__all__ = [
    "ApiClient",
    "ApiConnectionError",
    "ApiError",
    "ApiHandler",
    "ApiResponse",
    "ApiTimeoutError",
    "AsyncApiClient",
    "AuthenticationError",
    "AuthorizationError",
    "BatchAggregationScenario",
    "BatchConfig",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "Batchable",
    "Batches",
    "BusinessLogicError",
    "Checkpoint",
    "CircuitOpenError",
    "Classifier",
    "Client",
    "ConfigurationError",
    "Cursor",
    "Decision",
    "DecisionHandler",
    "DomainEvent",
    "EventPublisher",
    "Executor",
    "Failed",
    "From",
    "Handler",
    "HealthCheck",
    "Host",
    "Input",
    "Middleware",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "Publisher",
    "RateLimitError",
    "Relay",
    "Resolver",
    "ResourceContentionError",
    "RetryableError",
    "ServiceUnavailableError",
    "StepContext",
    "StepHandler",
    "StepResult",
    "StepTimeoutError",
    "StepValidationError",
    "Subscriber",
    "Succeeded",
    "SyncClient",
    "TargetGone",
    "TaskTemplate",
    "Workflow",
    "api_handler",
    "batch_analyzer",
    "batch_worker",
    "decision_handler",
    "depends_on",
    "hookimpl",
    "inputs",
    "step_handler",
    "workflow",
]

_HOMES = {
    "client": ("Client", "SyncClient"),
    "domain.batches": ("BatchConfig", "BatchWorkerContext", "Batches", "Cursor"),
    "domain.context": ("StepContext",),
    "domain.event": ("DomainEvent",),
    "domain.result": ("Checkpoint", "Decision", "Failed", "StepResult", "Succeeded"),
    "domain.template": ("TaskTemplate",),
    "errors": (
        "AuthenticationError",
        "AuthorizationError",
        "BusinessLogicError",
        "ConfigurationError",
        "NetworkError",
        "NotFoundError",
        "PermanentError",
        "RateLimitError",
        "ResourceContentionError",
        "RetryableError",
        "ServiceUnavailableError",
        "StepTimeoutError",
        "StepValidationError",
        "TargetGone",
    ),
    "handlers.aggregation": (
        "BatchAggregationScenario",
        "BatchWorkerOutcome",
    ),
    "handlers.api": (
        "ApiHandler",
        "api_handler",
    ),
    "handlers.api_client": (
        "ApiClient",
        "AsyncApiClient",
    ),
    "handlers.api_response": (
        "ApiConnectionError",
        "ApiError",
        "ApiResponse",
        "ApiTimeoutError",
        "CircuitOpenError",
    ),
    "handlers.batchable": ("Batchable",),
    "handlers.decision": ("DecisionHandler",),
    "handlers.declare": (
        "From",
        "Input",
        "batch_analyzer",
        "batch_worker",
        "decision_handler",
        "depends_on",
        "inputs",
        "step_handler",
    ),
    "handlers.step": ("StepHandler",),
    "handlers.workflow": (
        "Workflow",
        "workflow",
    ),
    "hooks.publisher": ("EventPublisher",),
    "hooks.records": (
        "Classifier",
        "Executor",
        "Handler",
        "HealthCheck",
        "Middleware",
        "Publisher",
        "Resolver",
        "Subscriber",
    ),
    "hooks.relay": ("Relay",),
    "hooks.specs": ("hookimpl",),
    "host": ("Host",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
