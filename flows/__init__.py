"""Prefect flows: what an operator starts. One module per flow, beside what flows share."""

from config.settings import apply_prefect_defaults
from tasks.logs import install_log_filter

apply_prefect_defaults()
install_log_filter()
