"""PostgreSQL: the connections, the schema, the kernel's calls, the reads of the API."""
