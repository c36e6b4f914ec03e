"""What the plugins give, put together: frozen lookups, checked before anything is served."""
