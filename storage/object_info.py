"""What a store lists without reading objects: their metadata, and unfinished uploads."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ObjectInfo:
    """Metadata of a stored object.

    Attributes
    ----------
    key : str
        Key of the object.
    size : int, bytes
        Length of its content.
    modified : datetime.datetime, UTC
        Time of its last write, by the store's clock.
    """

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class MultipartUpload:
    """A write that has started and not finished: it is in progress, or its process was killed.

    Attributes
    ----------
    key : str
        Key of the object to be written. A local folder knows only the key of the object's folder.
    upload_id : str
        S3's upload ID, or the path of the temporary file.
    size : int, bytes
        Bytes stored so far, which occupy space.
    initiated : datetime.datetime, UTC
        Time at which the write started, by the store's clock. For a local folder it is the time of
        its last progress.
    """

    key: str
    upload_id: str
    size: int
    initiated: datetime
