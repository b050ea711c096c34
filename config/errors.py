"""The error hierarchy. Each message says what happened, to what, and what to do next.

The command line prints the message as one line and exits with the class's ``exit_code``.
"""


class IcanvasError(Exception):
    """Base class of every error that is reported to a user."""

    exit_code = 1


class InputError(IcanvasError):
    """An invalid setting, catalogue entry, command or picture array."""

    exit_code = 2


class SourceError(IcanvasError):
    """A source that is missing, refused (login, license) or of an unexpected form."""

    exit_code = 3


class IntegrityError(IcanvasError):
    """An interrupted transfer, or bytes that fail a check; running again resumes or repairs."""

    exit_code = 4


class CorruptObjectError(IntegrityError):
    """A stored object whose bytes differ from those written; reading it again does not help."""


class StorageError(IcanvasError):
    """The store cannot be reached, read or written."""

    exit_code = 5


class ConflictError(StorageError):
    """A pointer changed between reading and writing it because another process wrote it."""


class NotFoundError(StorageError):
    """The store has no object with this key."""


# Advice for a corrupt object when nothing more specific is known.
PREPARE_AGAIN = "Run `icanvas prepare` with the data set's name to rebuild it."
