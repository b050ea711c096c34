"""Comparison of checkpoints: metrics with confidence intervals, and votes."""
