"""What an operator starts. Read top to bottom, each flow tells its whole story."""

from config.settings import apply_prefect_defaults
from tasks.logs import tidy_logs

apply_prefect_defaults()
tidy_logs()
