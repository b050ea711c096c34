"""Pauses a flow run until an operator has chosen an option in a form of the Prefect UI."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from prefect import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, create_model

NONE = "none"


def prompt_operator(
    question: str,
    options: Sequence[str],
    description: str = "",
    timeout: timedelta = timedelta(days=7),
    poll_interval_s: int = 5,
) -> str | None:
    """Pause the flow run until an operator has chosen an option. Call in a flow.

    The run's *Resume* button opens a form with a drop-down of the options and ``none``. Prefect
    rejects other values.

    Parameters
    ----------
    question : str
        Title of the drop-down.
    options : sequence of str
        At least one; none may be ``none``.
    description : str
        Markdown above the form, such as a table of metrics.
    timeout : timedelta
        The run fails if nobody has chosen by then.
    poll_interval_s : int
        Seconds between two checks for an answer.

    Returns
    -------
    str or None
        The chosen option; None for ``none``.
    """
    assert options and NONE not in options, (
        "there are options, and `none` is free to mean no choice"
    )
    choice_type: Any = Literal[(*options, NONE)]
    form = create_model(
        "Decision", __base__=RunInput, choice=(choice_type, Field(title=question, default=NONE))
    )
    form_with_description = form.with_initial_data(description=description or question)
    answer = pause_flow_run(
        wait_for_input=form_with_description,
        timeout=int(timeout.total_seconds()),
        poll_interval=poll_interval_s,
    )
    choice = str(answer.choice)  # type: ignore[attr-defined]
    return None if choice == NONE else choice
