"""The promise to plugin authors: the hooks a plugin may implement, and the records they return."""
