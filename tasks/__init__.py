"""Prefect tasks, one module a stage, and the plain functions that they run."""

from settings import apply_prefect_defaults

apply_prefect_defaults()
