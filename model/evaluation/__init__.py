"""Comparison of checkpoints: metrics with intervals, and votes."""
