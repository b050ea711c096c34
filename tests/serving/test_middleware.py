from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import GENERATE, RunningServer, run_test_server


def test_every_response_has_security_headers(server: RunningServer) -> None:
    for address in ("/", "/v1/models", "/nowhere", GENERATE, "/healthz"):
        headers = server.client.get(address).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert len(headers["X-Request-Id"]) == 32
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers
    assert server.post_drawing().headers["Cache-Control"] == "no-store"


def test_cors_origins_may_use_the_api(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    origin = "https://draw.example.com"
    with run_test_server(store, cors_origins=f"{origin},https://other.example.com") as server:
        preflight_headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight_headers["Access-Control-Request-Headers"] = "content-type"
        response = server.client.options(GENERATE, headers=preflight_headers)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == origin
        response = server.client.get("/v1/models", headers={"Origin": origin})
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "X-Model-Version" in response.headers["Access-Control-Expose-Headers"]
        other_response = server.client.get(
            "/v1/models", headers={"Origin": "https://evil.example.com"}
        )
        assert "Access-Control-Allow-Origin" not in other_response.headers
