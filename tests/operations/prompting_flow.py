"""A flow that asks a person, as comparing checkpoints does."""

from datetime import timedelta

from prefect import flow, get_run_logger

from flows.operator_prompt import ask_choice


@flow
def ask(options: list[str]) -> str | None:
    about = "| checkpoint | L1 |\n|---|---|\n| run-1 | 0.2 |\n| run-2 | 0.1 |"
    chosen = ask_choice("Which checkpoint?", options, about, timedelta(minutes=30), poll_seconds=1)
    get_run_logger().info("chosen: %s", chosen)
    return chosen
