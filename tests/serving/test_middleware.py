from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import GENERATE, RunningServer, run_test_server


def test_every_answer_tells_browsers_what_not_to_do(server: RunningServer) -> None:
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


def test_pages_of_other_origins_are_let_in_by_a_setting(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    origin = "https://draw.example.com"
    with run_test_server(store, origins=f"{origin},https://other.example.com") as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type"
        answer = server.client.options(GENERATE, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        answer = server.client.get("/v1/models", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "X-Model-Version" in answer.headers["Access-Control-Expose-Headers"]
        stranger = server.client.get("/v1/models", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in stranger.headers
