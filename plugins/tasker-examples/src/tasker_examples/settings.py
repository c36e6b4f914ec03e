"""`[plugins.examples.settings]`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ExamplesSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gateway_latency_ms: int = Field(default=0, ge=0, le=60_000, description="How long the payment gateway takes.")
