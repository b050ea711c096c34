import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import rate_limit
from serving.rate_limit import RateLimiter, client_key
from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import GENERATE, PNG, is_error, run_test_server


def test_burst_then_rate() -> None:
    limiter = RateLimiter(2, 3)
    assert [limiter.acquire("a", 10) for _ in range(4)] == [0, 0, 0, 1]
    assert limiter.acquire("b", 10) == 0
    assert limiter.acquire("a", 10.4) == 1
    assert limiter.acquire("a", 10.5) == 0
    assert limiter.acquire("a", 10.5) == 1
    assert [limiter.acquire("a", 1000) for _ in range(4)] == [0, 0, 0, 1]


def test_slow_rate_returns_the_wait() -> None:
    limiter = RateLimiter(0.1, 1)
    assert limiter.acquire("a", 0) == 0
    assert limiter.acquire("a", 0) == 10
    assert limiter.acquire("a", 4) == 6
    assert limiter.acquire("a", 10) == 0


@given(
    st.floats(0.1, 10),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), min_size=1, max_size=100),
)
def test_never_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    limiter, now, accepted = RateLimiter(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        accepted += not limiter.acquire("a", now)
    assert accepted <= burst + rate * now + 1e-6


def test_zero_rate_disables_the_limit() -> None:
    limiter = RateLimiter(0, 1)
    assert {limiter.acquire("a", 0) for _ in range(1000)} == {0}


def test_least_recently_used_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MAX_CLIENTS", 3)
    limiter = RateLimiter(1, 1)
    for name in "abcd":
        assert limiter.acquire(name, 0) == 0
    assert len(limiter._buckets) == 3
    assert limiter.acquire("d", 0) == 1
    assert limiter.acquire("a", 0) == 0


def test_client_key_is_ipv4_address_or_ipv6_network() -> None:
    assert client_key("192.0.2.7") == "192.0.2.7"
    assert client_key("2001:db8:1:2:3:4:5:6") == client_key("2001:db8:1:2::9")
    assert client_key("2001:db8:1:2::9") != client_key("2001:db8:1:3::9")
    assert client_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_key(None) == client_key("") == ""
    assert client_key("testclient") == "testclient"


def test_client_over_the_limit_gets_429(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, rate=0.01, burst=3) as server:
        responses = [server.post_drawing() for _ in range(5)]
        assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
        assert is_error(responses[-1], 429, "too_many")
        assert int(responses[-1].headers["Retry-After"]) > 90
        # X-Forwarded-For is ignored unless it comes from a trusted proxy.
        forged = server.client.post(
            GENERATE,
            content=VALID_BODIES["png"][1],
            headers={**PNG, "X-Forwarded-For": "192.0.2.1"},
        )
        assert forged.status_code == 429
        # Other requests are not limited.
        assert server.client.get("/v1/models").status_code == 200


def test_trusted_proxy_clients_are_limited_separately(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, rate=0.01, burst=1, trusted_proxies="127.0.0.1") as server:

        def draw(client: str) -> int:
            headers = {**PNG, "X-Forwarded-For": client}
            return server.client.post(
                GENERATE, content=VALID_BODIES["png"][1], headers=headers
            ).status_code

        assert [draw("192.0.2.1"), draw("192.0.2.2"), draw("192.0.2.1")] == [200, 200, 429]
        # Only the last entry, which the proxy added, counts.
        assert draw("192.0.2.99, 192.0.2.2") == 429
