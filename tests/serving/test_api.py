"""Property tests of the API against its OpenAPI description: no 5xx but the documented 503."""

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

for content_type in CONTENT_TYPES[:-1]:
    # Valid, unusual and malicious bodies of this and other types, and random bytes.
    matching = [
        entry[1]
        for entry in (*VALID_BODIES.values(), *INVALID_BODIES.values())
        if entry[0] == content_type
    ]
    all_bodies = [entry[1] for entry in (*VALID_BODIES.values(), *INVALID_BODIES.values())]
    schemathesis.openapi.media_type(
        content_type, st.one_of(st.sampled_from(matching), st.sampled_from(all_bodies), st.binary())
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
    # Routes without parameters have no invalid requests.
    [*((path, _GOOD) for path in _LABELS), ("examples", _BAD), ("generate", _BAD)],
)
def test_api_conforms_to_its_description(
    server: RunningServer, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json", config=CONFIG)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert {operation.label for operation in operations} == set(_LABELS.values())
    (operation,) = (operation for operation in operations if operation.label == _LABELS[path])
    statuses = set()

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def send_request(case: Case[Any], known: bool) -> None:
        checks = CHECKS
        if known and "name" in case.path_parameters:
            case.path_parameters["name"] = "shoes"
            # The name may have been all that was invalid.
            checks = [check for check in CHECKS if check is not negative_data_rejection]
        response = case.call_and_validate(checks=checks)
        statuses.add(response.status_code)

    send_request()
    if (path, mode) == ("generate", _GOOD):
        assert {200, 404, 422} <= statuses
