"""A person's decision in the middle of a run: the run pauses with a form in the Prefect UI."""

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
    """Pause the run until a person has chosen; call in a flow.

    The form is a drop-down of the options and of ``none``, shown by the run's *Resume* button; a
    value that is not offered is refused.

    Parameters
    ----------
    question : above the drop-down.
    options : what there is to choose from; at least one, none of them called ``none``.
    about : Markdown above the form, such as a table of figures.
    patience : the run fails when nobody has chosen by then.
    poll_seconds : how often the run looks.

    Returns
    -------
    str or None
        The option; None where the person wants none of them.
    """
    assert options and NONE not in options, "there is something to choose, and a way not to"
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
