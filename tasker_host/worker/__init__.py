"""Claim → run → finish, for many steps at once."""
