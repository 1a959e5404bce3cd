"""Postgres (pools, routing, schema) and Redis (cache)."""
