"""Offline metrics."""
