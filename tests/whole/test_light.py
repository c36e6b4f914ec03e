"""What starting costs."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_pulls_in_nothing_heavy():
    loaded = modules_after("import tasker_host")
    assert not loaded & {"asyncpg", "litestar", "pgmq", "pydantic", "click", "uvicorn", "structlog"}


def test_the_names_of_plugin_authors_pull_in_neither_driver_nor_server():
    names = "hookimpl, step_handler, StepHandler, StepContext, Handler, Middleware, Classifier, TaskTemplate"
    loaded = modules_after(f"from tasker_host import {names}")
    assert not loaded & {"asyncpg", "litestar", "pgmq", "click", "uvicorn"}


def test_help_loads_no_plugin_and_no_server():
    loaded = modules_after(
        "import sys\nsys.argv = ['tasker', '--help']\nfrom tasker_host.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint()"
    )
    assert "tasker_host.cli" in loaded
    assert not loaded & {"asyncpg", "litestar", "pgmq", "pydantic", "uvicorn", "tasker_examples.plugin"}
