from hypothesis import given
from hypothesis import strategies as st

from storage.fingerprint import fingerprint

fields = st.dictionaries(
    st.text(st.characters(blacklist_categories=["Cs"])), st.integers(), min_size=1
)


@given(fields)
def test_fingerprint_ignores_key_order(some: dict[str, object]) -> None:
    assert fingerprint(some) == fingerprint(dict(reversed(some.items())))
    assert len(fingerprint(some)) == 12


@given(fields)
def test_fingerprint_depends_on_every_field(some: dict[str, object]) -> None:
    key = next(iter(some))
    assert fingerprint(some) != fingerprint({**some, key: "other"})


def test_fingerprint_is_stable_across_versions() -> None:
    """Stored objects are named by fingerprints, so another value would orphan every store."""
    assert fingerprint({"a": 1, "b": [0.5, None, "é"]}) == "1df85bd42d7d"
