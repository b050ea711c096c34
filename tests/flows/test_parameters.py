"""Parameter schemas from which the Prefect UI builds its forms, without a server."""

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
from sources import EdgeOptions, PrepareOptions


@pytest.mark.parametrize(
    "flow",
    [prepare, extract, train, calibrate, use, compare, promote, rollback, check_updates],
)
def test_every_form_field_has_a_description(flow: Flow[Any, Any]) -> None:
    form = flow.parameters.model_dump()
    fields = dict(form["properties"])
    for model in form.get("definitions", {}).values():
        assert model["description"]
        fields |= model["properties"]
    for name, field in fields.items():
        assert "$ref" in field or field.get("description"), f"{name} has no description"
        # The form shows alternatives of types in a confusing way.
        assert "anyOf" not in field, name
        # The form would send null, and the server would reject it.
        assert field.get("default", "") is not None, name
    if flow is not check_updates:
        assert "demo" in form["properties"]["source"]["enum"]


def test_empty_fields_are_omitted() -> None:
    assert EdgeOptions(threshold=0.3).model_dump() == {"threshold": 0.3}
    assert PrepareOptions(min_pixels=0).edge_overrides == {"min_pixels": 0}
    assert EdgeOptions.model_validate({"threshold": None}).edge_overrides == {}
