"""The API against its own description: no 5xx but the documented 503, whatever is sent."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from serving.decode import CONTENT_TYPES
from tests.serving.hostile import INVALID_BODIES, VALID_BODIES
from tests.serving.live_server import RunningServer

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]

# A body that breaks the schema by its length is rejected with 413, which is not among the statuses
# that the check of invalid requests expects.
CONFIG = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx", "503"]}}}
)

for kind in CONTENT_TYPES[:-1]:
    # Good, odd and hostile pictures, of this type and others, and plain bytes.
    for_it = [entry[1] for entry in (*VALID_BODIES.values(), *INVALID_BODIES.values()) if entry[0] == kind]
    any_ = [entry[1] for entry in (*VALID_BODIES.values(), *INVALID_BODIES.values())]
    schemathesis.openapi.media_type(
        kind, st.one_of(st.sampled_from(for_it), st.sampled_from(any_), st.binary())
    )


_LABELS = {
    "list": "GET /v1/models",
    "examples": "GET /v1/models/{name}/examples/{number}/{what}.png",
    "generate": "POST /v1/models/{name}/generate",
    "healthz": "GET /healthz",
    "readyz": "GET /readyz",
}
_GOOD, _BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("path", "mode"),
    # Of what takes nothing there is nothing wrong.
    [*((path, _GOOD) for path in _LABELS), ("examples", _BAD), ("generate", _BAD)],
)
def test_the_api_is_as_it_is_described(server: RunningServer, path: str, mode: GenerationMode) -> None:
    described = schemathesis.openapi.from_url(f"{server.address}/openapi.json", config=CONFIG)
    found = [result.ok() for result in described.get_all_operations() if isinstance(result, Ok)]
    assert {operation.label for operation in found} == set(_LABELS.values())
    (operation,) = (one for one in found if one.label == _LABELS[path])
    answered = set()

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def ask(case: Case[Any], known: bool) -> None:
        if known and "name" in case.path_parameters:
            case.path_parameters["name"] = "shoes"
        answer = case.call_and_validate(checks=CHECKS)
        answered.add(answer.status_code)

    ask()
    if (path, mode) == ("generate", _GOOD):
        assert {200, 404, 422} <= answered
