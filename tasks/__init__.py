"""Prefect tasks, one module a stage, and the plain functions that they run."""

from settings import apply_prefect_defaults

# Here, because nothing imports Prefect without passing this line.
apply_prefect_defaults()
