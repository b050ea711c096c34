"""Prefect tasks, one module per stage, and the functions that they share."""

from config.settings import apply_prefect_defaults
from tasks.logs import install_log_filter

apply_prefect_defaults()
install_log_filter()
