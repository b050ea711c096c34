"""What the Prefect UI makes its forms of, without a server."""

from typing import Any

import pytest
from prefect import Flow

from flows.calibrate import calibrate
from flows.check_updates import check_updates
from flows.compare import compare
from flows.extract import extract
from flows.prepare import prepare
from flows.promote import promote
from flows.rollback import rollback
from flows.train import train
from flows.use import use
from sources import PrepareOptions, EdgeOptions


@pytest.mark.parametrize(
    "flow",
    [prepare, extract, train, calibrate, use, compare, promote, rollback, check_updates],
)
def test_every_field_says_what_it_is(flow: Flow[Any, Any]) -> None:
    form = flow.parameters.model_dump()
    fields = dict(form["properties"])
    for model in form.get("definitions", {}).values():
        assert model["description"]
        fields |= model["properties"]
    for name, field in fields.items():
        assert "$ref" in field or field.get("description"), f"{name} says nothing"
        # A choice of types is a riddle to an operator.
        assert "anyOf" not in field, name
        # The form would send it, and the server refuse it.
        assert field.get("default", "") is not None, name
    if flow is not check_updates:
        assert "demo" in form["properties"]["source"]["enum"]


def test_what_is_empty_is_not_sent() -> None:
    assert EdgeOptions(threshold=0.3).model_dump() == {"threshold": 0.3}
    assert PrepareOptions(min_pixels=0).set_fields == {"min_pixels": 0}
    assert EdgeOptions.model_validate({"threshold": None}).set_fields == {}
