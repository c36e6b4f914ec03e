"""PostgreSQL as a child of the host: found, initialised, started, watched and stopped, with nothing to set up.

One process owns the server of a data directory, every other one attaches to it. The owner starts the server as its
direct child, restarts it when it dies, and takes it along when it ends, even by `kill -9`. What is where:

    data_dir/
    ├── host.lock       held by the owner; the kernel releases it, however the owner ends
    ├── pg18/           PostgreSQL's own files, one directory per major version
    ├── run/            the socket, open to the server's account only
    └── postgres.log    what the server says; `postgres.log.1` is the part before
"""

from __future__ import annotations

import sys

from tasker_host.db.embedded.binaries import Binaries, find_binaries
from tasker_host.db.embedded.places import default_data_dir, temporary_data_dir

if sys.platform == "win32":
    from tasker_host.db.embedded.windows import EmbeddedServer
else:
    from tasker_host.db.embedded.server import EmbeddedServer

__all__ = ["Binaries", "EmbeddedServer", "default_data_dir", "find_binaries", "temporary_data_dir"]
