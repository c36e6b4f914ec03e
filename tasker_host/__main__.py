"""`python -m tasker_host` is the `tasker` command."""

from tasker_host.cli import main

if __name__ == "__main__":
    main()
