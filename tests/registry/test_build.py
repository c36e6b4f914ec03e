"""From plugins and the user's own files to a registry."""

from __future__ import annotations

import pytest

from tasker_host import step_handler
from tasker_host.errors import TemplateError
from tasker_host.handlers.bound import bind
from tasker_host.plugins import load_plugins
from tasker_host.registry.build import registry_of
from tests.support import chain, configured, plugin


@step_handler("work")
async def work() -> None: ...


def made(*templates: str, **overrides: object):
    config = configured("postgresql:///unused", **overrides)
    given = plugin([work], templates)
    return registry_of(load_plugins(config, bind=bind, extra={"p": given}, entry_points=False), config)


def test_a_template_is_available_when_each_of_its_steps_has_a_handler():
    registry = made(chain("good", "work"), chain("bad", "work", "wrok"))
    assert [template.name for template in registry.available()] == ["good"]
    (problem,) = registry.problems("tests", "bad", None)
    assert (
        str(problem)
        == "template tests/bad 1.0.0, step 'wrok': no handler named 'wrok'; did you mean 'work' from plugin 'p'?"
    )


def test_the_highest_version_is_the_latest_by_number_not_by_text():
    texts = [chain("t", "work").replace("1.0.0", version) for version in ("1.9.0", "1.10.0", "0.99.99")]
    registry = made(*texts)
    assert registry.latest_version("tests", "t") == "1.10.0"
    assert registry.suggestion("tests", "t", "2.0.0") == "; there is 0.99.99, 1.9.0, 1.10.0"


def test_own_template_files_are_read_from_files_and_folders(tmp_path):
    (tmp_path / "one.yaml").write_text(chain("one", "work"))
    folder = tmp_path / "more" / "below"
    folder.mkdir(parents=True)
    (folder / "two.yml").write_text(chain("two", "work"))
    (folder / "notes.txt").write_text("not a template")
    registry = made(templates__paths=[str(tmp_path / "one.yaml"), str(tmp_path / "more")])
    assert [template.name for template in registry.available()] == ["one", "two"]


def test_everything_wrong_with_own_template_files_is_told_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text(chain("one", "work"))
    (tmp_path / "b.yaml").write_text(chain("one", "work"))
    (tmp_path / "c.yaml").write_text("name: [")
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / name) for name in ("a.yaml", "b.yaml", "c.yaml", "empty", "nowhere")]
    with pytest.raises(TemplateError) as caught:
        made(chain("given", "work"), templates__paths=paths)
    told = str(caught.value)
    assert "template 'tests/one 1.0.0' is already given by" in told
    assert "c.yaml" in told
    assert "empty has no .yaml or .yml file" in told
    assert "nowhere does not exist" in told


def test_a_template_that_a_plugin_gives_may_not_be_given_again(tmp_path):
    (tmp_path / "a.yaml").write_text(chain("one", "work"))
    with pytest.raises(TemplateError, match="is already given by plugin 'p'"):
        made(chain("one", "work"), templates__paths=[str(tmp_path / "a.yaml")])
