"""Fingerprints: short names derived from content."""

import hashlib
import json


def fingerprint(fields: dict[str, object]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the fields' canonical JSON.

    Parameters
    ----------
    fields : dict of str to JSON value
        Everything that determines some bytes. NaN and infinities are not allowed. The order of the
        keys does not matter.

    Returns
    -------
    str
        12 lower-case hexadecimal digits.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(
        fields,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
