"""The pytest plugin that comes with the package (entry point `tasker_host` in the group `pytest11`)."""
