from hypothesis import given
from hypothesis import strategies as st

from storage.fingerprint import fingerprint

facts = st.dictionaries(
    st.text(st.characters(blacklist_categories=["Cs"])), st.integers(), min_size=1
)


@given(facts)
def test_the_order_of_keys_does_not_matter(some: dict[str, object]) -> None:
    assert fingerprint(some) == fingerprint(dict(reversed(some.items())))
    assert len(fingerprint(some)) == 12


@given(facts)
def test_every_fact_counts(some: dict[str, object]) -> None:
    key = next(iter(some))
    assert fingerprint(some) != fingerprint({**some, key: "other"})


def test_it_does_not_move() -> None:
    """Fingerprints name what is stored: another value here would orphan every store."""
    assert fingerprint({"a": 1, "b": [0.5, None, "é"]}) == "1df85bd42d7d"
