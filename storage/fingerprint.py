"""Names that follow from content."""

import hashlib
import json


def fingerprint(fields: dict[str, object]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the facts' canonical JSON.

    Parameters
    ----------
    facts : JSON values (no NaN) that determine some bytes; the order of keys does not matter.
    """
    canonical = json.dumps(
        fields,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
