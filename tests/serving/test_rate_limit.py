import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import rate_limit
from serving.rate_limit import RateLimiter, client_key
from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import GENERATE, PNG, is_error, run_test_server


def test_a_burst_and_then_the_rate() -> None:
    limit = RateLimiter(2, 3)
    assert [limit.acquire("a", 10) for _ in range(4)] == [0, 0, 0, 1]
    assert limit.acquire("b", 10) == 0
    assert limit.acquire("a", 10.4) == 1
    assert limit.acquire("a", 10.5) == 0
    assert limit.acquire("a", 10.5) == 1
    assert [limit.acquire("a", 1000) for _ in range(4)] == [0, 0, 0, 1]


def test_a_slow_rate_tells_its_wait() -> None:
    limit = RateLimiter(0.1, 1)
    assert limit.acquire("a", 0) == 0
    assert limit.acquire("a", 0) == 10
    assert limit.acquire("a", 4) == 6
    assert limit.acquire("a", 10) == 0


@given(
    st.floats(0.1, 10),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), min_size=1, max_size=100),
)
def test_nobody_gets_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    limit, now, given_ = RateLimiter(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        given_ += not limit.acquire("a", now)
    assert given_ <= burst + rate * now + 1e-6


def test_no_rate_is_no_limit() -> None:
    limit = RateLimiter(0, 1)
    assert {limit.acquire("a", 0) for _ in range(1000)} == {0}


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MOST_CLIENTS", 3)
    limit = RateLimiter(1, 1)
    for name in "abcd":
        assert limit.acquire(name, 0) == 0
    assert len(limit._buckets) == 3
    assert limit.acquire("d", 0) == 1
    assert limit.acquire("a", 0) == 0


def test_clients_are_counted_by_what_they_can_choose_from() -> None:
    assert client_key("192.0.2.7") == "192.0.2.7"
    assert client_key("2001:db8:1:2:3:4:5:6") == client_key("2001:db8:1:2::9")
    assert client_key("2001:db8:1:2::9") != client_key("2001:db8:1:3::9")
    assert client_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_key(None) == client_key("") == ""
    assert client_key("testclient") == "testclient"


def test_one_client_gets_only_so_much(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, rate=0.01, burst=3) as server:
        answers = [server.post_drawing() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert is_error(answers[-1], 429, "too_many")
        assert int(answers[-1].headers["Retry-After"]) > 90
        # It is believed from no stranger that it asks for someone else.
        forged = server.client.post(
            GENERATE, content=VALID_BODIES["png"][1], headers={**PNG, "X-Forwarded-For": "192.0.2.1"}
        )
        assert forged.status_code == 429
        # Looking costs nothing.
        assert server.client.get("/v1/models").status_code == 200


def test_behind_a_proxy_each_of_its_clients_is_one(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, rate=0.01, burst=1, proxies="127.0.0.1") as server:

        def draw(client: str) -> int:
            headers = {**PNG, "X-Forwarded-For": client}
            return server.client.post(GENERATE, content=VALID_BODIES["png"][1], headers=headers).status_code

        assert [draw("192.0.2.1"), draw("192.0.2.2"), draw("192.0.2.1")] == [200, 200, 429]
        # What the client itself wrote before the proxy's word counts for nothing.
        assert draw("192.0.2.99, 192.0.2.2") == 429
