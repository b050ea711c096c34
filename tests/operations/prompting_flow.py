"""A flow that prompts an operator, as `compare` does."""

from datetime import timedelta

from prefect import flow, get_run_logger

from flows.operator_prompt import prompt_operator


@flow
def prompt(options: list[str]) -> str | None:
    description = "| checkpoint | L1 |\n|---|---|\n| run-1 | 0.2 |\n| run-2 | 0.1 |"
    choice = prompt_operator(
        "Which checkpoint?", options, description, timedelta(minutes=30), poll_interval_s=1
    )
    get_run_logger().info("chosen: %s", choice)
    return choice
