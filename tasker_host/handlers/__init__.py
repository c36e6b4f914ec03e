"""How a handler is written, what its parameters are given, and what its errors mean."""
