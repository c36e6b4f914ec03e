"""Every relative link leads somewhere, and every page can be found."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import NAMES, ROOT, everything, read, readme


@pytest.mark.parametrize("one", everything(), ids=lambda one: one.name)
def test_every_relative_link_resolves(one):
    broken = []
    for link in one.links():
        file, _, anchor = link.partition("#")
        target = (one.path.parent / file).resolve() if file else one.path
        if not target.exists() or (anchor and anchor not in read(target).anchors()):
            broken.append(link)
    assert broken == []


def test_the_readme_leads_to_every_page():
    assert {f"docs/{name}.md" for name in NAMES} <= set(readme().links())


def test_there_is_no_page_besides():
    assert sorted(path.stem for path in (ROOT / "docs").glob("*.md")) == sorted(NAMES)


def test_every_block_is_of_a_language_that_is_checked():
    # Blocks without a language are trees of folders and what commands print.
    languages = {language for one in everything() for language in re.findall(r"^```(\S+)$", one.text, re.MULTILINE)}
    assert languages <= {"json", "python", "sh", "sql", "toml", "yaml"}
