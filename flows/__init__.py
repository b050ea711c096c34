"""What an operator starts. Read top to bottom, each flow tells its whole story."""

from settings import apply_prefect_defaults

apply_prefect_defaults()
