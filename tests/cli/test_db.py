"""`tasker db`, and what commands say of databases they cannot use."""

from __future__ import annotations


def test_migrate_brings_an_empty_database_to_the_schema_once(tasker, new_database):
    dsn = new_database(empty=True)
    before = tasker("db", "status", "--json", DATABASE_URL=dsn)
    assert (before.code, before.json["current"], before.json["applied"]) == (1, False, [])
    first = tasker("db", "migrate", "--json", DATABASE_URL=dsn)
    assert (first.code, first.json["applied"]) == (0, before.json["pending"])
    assert tasker("db", "migrate", "--json", DATABASE_URL=dsn).json["applied"] == []
    after = tasker("db", "status", DATABASE_URL=dsn)
    assert (after.code, "pending" in after.out) == (0, False)


def test_a_database_that_is_not_migrated_is_left_alone_and_the_way_out_is_told(tasker, new_database):
    dsn = new_database(empty=True)
    listed = tasker("task", "list", DATABASE_URL=dsn)
    assert listed.code == 3
    assert "run `tasker db migrate`" in listed.err
    assert tasker("db", "status", "--json", DATABASE_URL=dsn).json["applied"] == []


def test_a_server_that_is_not_there_is_told_in_one_line(tasker):
    listed = tasker("task", "list", DATABASE_URL="postgresql://me:secret@127.0.0.1:1/none")
    assert listed.code == 3
    assert listed.err.count("\n") == 1
    assert "cannot be reached" in listed.err
    assert "secret" not in listed.err


def test_production_without_a_database_url_starts_nothing(tasker):
    listed = tasker("task", "list", TASKER_ENV="production")
    assert listed.code == 3
    assert "database.embedded is false" in listed.err
    assert "set DATABASE_URL" in listed.err
