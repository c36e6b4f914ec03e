"""tasker-host: a workflow engine for Python people who already run PostgreSQL."""
