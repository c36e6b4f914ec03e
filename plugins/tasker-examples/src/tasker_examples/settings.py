"""`[plugins.examples.settings]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ExamplesSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gateway_latency_ms: int = Field(default=0, ge=0, le=60_000, description="How long the payment gateway takes.")
    csv_folder: Path | None = Field(default=None, description="Where product files are; None: those of this package.")
