"""The smallest shapes, and a workflow whose template has every schema."""

from __future__ import annotations

from tasker_host.testing import run_task_async

from tasker_examples import plugin


async def test_three_items_are_fetched_changed_and_stored() -> None:
    ran = await run_task_async("examples_basics/fetch_transform_store", plugins=[plugin])
    assert [item["name"] for item in ran.values["transform_data"]["items"]] == ["ITEM_1", "ITEM_2", "ITEM_3"]
    assert ran.values["store_data"] == {
        "stored_ids": [1, 2, 3],
        "stored_count": 3,
        "stored_at": "2025-01-01T00:00:01Z",
    }


async def test_two_paths_are_merged() -> None:
    ran = await run_task_async("examples_basics/merge_paths", plugins=[plugin])
    assert ran.values["merge"] == {
        "merged_result": 350,
        "path_a_value": 200,
        "path_b_value": 150,
        "merge_summary": {"total": 350, "path_a_operation": "multiply_by_2", "path_b_operation": "add_50"},
    }


async def test_an_article_is_published_by_models_alone() -> None:
    article = {"title": "Hello, World!", "body": "Steps wait for steps.\n\nThen <they> run.", "tags": ["intro"]}
    ran = await run_task_async("examples_content/content_publishing", article, plugins=[plugin])
    assert ran.is_complete, ran
    assert ran.values["check_article"] == {"words": 7, "reading_minutes": 1, "warnings": []}
    assert ran.values["render_article"]["html"] == (
        "<small>1 min</small><p>Steps wait for steps.</p><p>Then &lt;they&gt; run.</p>"
    )
    assert ran.values["publish_article"] == {
        "url": "https://blog.example.com/hello-world",
        "slug": "hello-world",
        "reading_minutes": 1,
        "terms": 4,
        "visibility": "public",
    }


async def test_an_article_without_words_fails_for_good() -> None:
    ran = await run_task_async("examples_content/content_publishing", {"title": "x", "body": " "}, plugins=[plugin])
    assert ran.errors["check_article"]["error_code"] == "EMPTY_ARTICLE"
