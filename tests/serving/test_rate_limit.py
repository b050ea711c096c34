import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import rate_limit
from serving.rate_limit import RateLimit, name_client
from storage import LocalStore
from tests.serving.exports import make, promote
from tests.serving.hostile import GOOD
from tests.serving.live_server import GENERATE, PNG, is_error, running


def test_a_burst_and_then_the_rate() -> None:
    limit = RateLimit(2, 3)
    assert [limit.take("a", 10) for _ in range(4)] == [0, 0, 0, 1]
    assert limit.take("b", 10) == 0
    assert limit.take("a", 10.4) == 1
    assert limit.take("a", 10.5) == 0
    assert limit.take("a", 10.5) == 1
    assert [limit.take("a", 1000) for _ in range(4)] == [0, 0, 0, 1]


def test_a_slow_rate_tells_its_wait() -> None:
    limit = RateLimit(0.1, 1)
    assert limit.take("a", 0) == 0
    assert limit.take("a", 0) == 10
    assert limit.take("a", 4) == 6
    assert limit.take("a", 10) == 0


@given(
    st.floats(0.1, 10),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), min_size=1, max_size=100),
)
def test_nobody_gets_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    limit, now, given_ = RateLimit(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        given_ += not limit.take("a", now)
    assert given_ <= burst + rate * now + 1e-6


def test_no_rate_is_no_limit() -> None:
    limit = RateLimit(0, 1)
    assert {limit.take("a", 0) for _ in range(1000)} == {0}


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MOST_CLIENTS", 3)
    limit = RateLimit(1, 1)
    for name in "abcd":
        assert limit.take(name, 0) == 0
    assert len(limit._buckets) == 3
    assert limit.take("d", 0) == 1
    assert limit.take("a", 0) == 0


def test_clients_are_counted_by_what_they_can_choose_from() -> None:
    assert name_client("192.0.2.7") == "192.0.2.7"
    assert name_client("2001:db8:1:2:3:4:5:6") == name_client("2001:db8:1:2::9")
    assert name_client("2001:db8:1:2::9") != name_client("2001:db8:1:3::9")
    assert name_client("::ffff:192.0.2.7") == "192.0.2.7"
    assert name_client(None) == name_client("") == ""
    assert name_client("testclient") == "testclient"


def test_one_client_gets_only_so_much(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, rate=0.01, burst=3) as server:
        answers = [server.draw() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert is_error(answers[-1], 429, "too_many")
        assert int(answers[-1].headers["Retry-After"]) > 90
        # It is believed from no stranger that it asks for someone else.
        forged = server.client.post(
            GENERATE, content=GOOD["png"][1], headers={**PNG, "X-Forwarded-For": "192.0.2.1"}
        )
        assert forged.status_code == 429
        # Looking costs nothing.
        assert server.client.get("/v1/models").status_code == 200


def test_behind_a_proxy_each_of_its_clients_is_one(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, rate=0.01, burst=1, proxies="127.0.0.1") as server:

        def draw(client: str) -> int:
            headers = {**PNG, "X-Forwarded-For": client}
            return server.client.post(GENERATE, content=GOOD["png"][1], headers=headers).status_code

        assert [draw("192.0.2.1"), draw("192.0.2.2"), draw("192.0.2.1")] == [200, 200, 429]
        # What the client itself wrote before the proxy's word counts for nothing.
        assert draw("192.0.2.99, 192.0.2.2") == 429
