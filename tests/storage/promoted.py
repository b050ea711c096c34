"""Pointing at a checkpoint, without an export of it."""
