"""An article on its way to its readers: models for what is given and returned give the template its schemas."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from tasker_host import From, Input, step_handler, workflow

from tasker_examples.errors import InvalidInputError

_WORDS_A_MINUTE = 200


class Article(BaseModel):
    """What a task of the workflow is given."""

    title: str = Field(min_length=1, max_length=200)
    body: str
    tags: list[str] = []
    visibility: Literal["public", "members"] = "public"


class Checked(BaseModel):
    words: int = Field(ge=1)
    reading_minutes: int = Field(ge=1)
    warnings: list[str]


class Rendered(BaseModel):
    slug: str = Field(pattern="^[a-z0-9-]+$")
    html: str


class Indexed(BaseModel):
    terms: dict[str, int]


class Published(BaseModel):
    url: str
    slug: str
    reading_minutes: int
    terms: int
    visibility: Literal["public", "members"]


Given = Annotated[Article, Input()]


@step_handler("examples.content.check_article")
def check_article(article: Given) -> Checked:
    words = len(article.body.split())
    if not words:
        raise InvalidInputError("the article has no words", error_code="EMPTY_ARTICLE")
    return Checked(
        words=words,
        reading_minutes=max(1, round(words / _WORDS_A_MINUTE)),
        warnings=[] if article.tags else ["it has no tags"],
    )


@step_handler("examples.content.render_article")
def render_article(article: Given, checked: Annotated[Checked, From("check_article")]) -> Rendered:
    slug = re.sub(r"[^a-z0-9]+", "-", article.title.lower()).strip("-") or "article"
    paragraphs = [part.strip() for part in article.body.split("\n\n") if part.strip()]
    minutes = f"<small>{checked.reading_minutes} min</small>"
    return Rendered(slug=slug, html=minutes + "".join(f"<p>{_escaped(part)}</p>" for part in paragraphs))


@step_handler("examples.content.index_article")
def index_article(
    article: Given,
    checked: Annotated[Checked, From("check_article")],  # noqa: ARG001 - only what was checked is indexed
) -> Indexed:
    terms: dict[str, int] = {}
    for word in re.findall(r"[a-z]{4,}", article.body.lower()):
        terms[word] = terms.get(word, 0) + 1
    return Indexed(terms=dict(sorted(terms.items())))


@step_handler("examples.content.publish_article")
def publish_article(
    article: Given,
    checked: Annotated[Checked, From("check_article")],
    rendered: Annotated[Rendered, From("render_article")],
    indexed: Annotated[Indexed, From("index_article")],
) -> Published:
    return Published(
        url=f"https://blog.example.com/{rendered.slug}",
        slug=rendered.slug,
        reading_minutes=checked.reading_minutes,
        terms=len(indexed.terms),
        visibility=article.visibility,
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


CONTENT = (
    workflow(
        "examples_content/content_publishing",
        description="An article is checked, rendered and indexed at the same time, and published",
        metadata={"author": "tasker-examples", "tags": ["diamond", "models", "code"]},
        input_schema=Article,
    )
    .step(check_article, result_schema=Checked)
    .step(render_article, result_schema=Rendered)
    .step(index_article, result_schema=Indexed)
    .step(publish_article, result_schema=Published)
)
