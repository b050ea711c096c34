"""Prefect tasks, one module a stage, and the plain functions that they run."""

from config.settings import apply_prefect_defaults
from tasks.logs import tidy_logs

apply_prefect_defaults()
tidy_logs()
