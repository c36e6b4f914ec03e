"""`tasker plugin new`: what it writes can be tested, built, installed and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import Result

from tests.support import command, ended, results

ROOT = Path(__file__).parents[2]


def ran(*arguments: str) -> Result:
    """`tasker plugin new …` in this process."""
    return command("plugin", "new", *arguments)


def python(*arguments: str, cwd: Path) -> str:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def package(tmp_path):
    done = ran("payments", "--dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    return tmp_path / "tasker-payments"


def test_it_writes_the_whole_package(package):
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "src/tasker_payments/__init__.py",
        "src/tasker_payments/plugin.py",
        "src/tasker_payments/settings.py",
        "src/tasker_payments/handlers.py",
        "src/tasker_payments/publishers.py",
        "src/tasker_payments/py.typed",
        "src/tasker_payments/templates/greet.yaml",
        "tests/test_handlers.py",
    }
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == "tasker-payments"
    assert project["entry-points"] == {"tasker_host.plugins": {"payments": "tasker_payments.plugin"}}
    assert project["dependencies"] == ["tasker-host>=0.1,<0.2"]
    assert (package / "src/tasker_payments/__init__.py").read_text() == ""
    assert [path.name for path in package.parent.iterdir()] == ["tasker-payments"]


def test_its_tests_pass_before_anything_is_installed(package):
    assert "5 passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)


def test_its_code_is_as_clean_as_ours(package):
    pytest.importorskip("ruff")
    python("-m", "ruff", "check", "--isolated", "--select", "E,F,W,I,UP,B", "--line-length", "120", ".", cwd=package)


async def test_what_is_built_of_it_is_found_and_runs(package, tmp_path, monkeypatch, installed_host):
    site = tmp_path / "site"
    site.mkdir()
    python("-c", f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})", cwd=package)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    modules = set(sys.modules)
    try:
        async with installed_host(plugins__payments={"settings": {"greeting": "Good morning"}}) as host:
            assert host.roster.plugin("payments").contribution.gives() == {
                "handlers": 2,
                "templates": 1,
                "publishers": 1,
            }
            request = {"namespace": "payments", "name": "greet", "context": {"name": "Ada L."}}
            from tasker_host.domain.request import request_from_data

            (row,) = await ended(host, await host.submissions.submit(request_from_data(request)))
    finally:
        for name in set(sys.modules) - modules:
            if name.startswith("tasker_payments"):
                del sys.modules[name]
    assert results(row) == {"count_letters": 4, "greet": {"text": "Good morning, Ada L.!", "letters": 4}}


def test_a_name_of_several_words_is_right_everywhere(tmp_path):
    done = ran("my-web_shop", "--dir", str(tmp_path / "deep/er"), "--json")
    told = json.loads(done.stdout)
    assert told["dist"] == "tasker-my-web-shop"
    assert told["package"] == "tasker_my_web_shop"
    folder = tmp_path / "deep/er/tasker-my-web-shop"
    assert told["folder"] == str(folder)
    assert "namespace_name: my_web_shop\n" in (folder / "src/tasker_my_web_shop/templates/greet.yaml").read_text()
    assert '@step_handler("my-web_shop.greet")' in (folder / "src/tasker_my_web_shop/handlers.py").read_text()
    assert "name: my_web_shop.greeted\n" in (folder / "src/tasker_my_web_shop/templates/greet.yaml").read_text()
    checked = python("-m", "tasker_host", "plugin", "check", "tasker_my_web_shop.plugin", cwd=folder / "src")
    assert "no faults\nmy_web_shop: 2 handlers, 1 template, 1 publisher" in checked


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Payments", "did you mean 'payments'?"),
        ("my shop", "did you mean 'my-shop'?"),
        ("1st", "did you mean 'st'?"),
        ("a--b", "did you mean 'a-b'?"),
        ("shop-", "did you mean 'shop'?"),
        ("../evil", "did you mean 'evil'?"),
        ("x" * 30, "1 to 29 of a-z"),
        ("é", "is no name for a plugin"),
        ("", "is no name for a plugin"),
        ("tasker-payments", "name the plugin 'payments'"),
        ("host", "'host' is the host itself"),
        ("autoload", "'autoload' is a key of [plugins]"),
    ],
)
def test_what_cannot_be_a_name_is_refused_before_anything_is_written(tmp_path, name, told):
    done = ran(name, "--dir", str(tmp_path))
    assert done.exit_code == 2
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_plugin_is_refused(tmp_path, install):
    install("audit", "raise AssertionError")
    done = ran("audit", "--dir", str(tmp_path / "new"))
    assert done.exit_code == 2
    assert "a plugin 'audit' is installed already, from acme-audit 1.2.3; choose another name" in done.stderr


def test_nothing_is_overwritten(package):
    changed = package / "src/tasker_payments/handlers.py"
    changed.write_text("mine")
    done = ran("payments", "--dir", str(package.parent), "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "REQUEST_INVALID"
    assert "tasker-payments is there already; nothing was written" in error["message"]
    assert changed.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    done = ran("payments", "--dir", str(tmp_path / "file/below"))
    assert done.exit_code == 2
    assert "cannot be written: Not a directory" in done.stderr
