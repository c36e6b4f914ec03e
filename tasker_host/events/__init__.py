"""Domain events: what they say, the durable and the fast path, and what became of each."""
