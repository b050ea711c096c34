"""What a store tells of what it holds, without reading it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ObjectInfo:
    """One object.

    Attributes
    ----------
    key : its key.
    size : bytes.
    modified : when it was written last, in UTC by the store's clock.
    """

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class MultipartUpload:
    """A write that began and has not ended: of a running process, or of one that was killed.

    Attributes
    ----------
    key : of the object that it would make; of the object's folder where only that is known.
    id : by which the store knows it.
    size : bytes that are there, and cost room.
    begun : when it began, in UTC by the store's clock; a folder knows when it last went on.
    """

    key: str
    upload_id: str
    size: int
    initiated: datetime
