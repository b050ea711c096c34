"""The one error hierarchy. Each message says what happened, to what, and what to do next.

The command line prints the message as one line and exits with the class's ``exit_code``.
"""


class IcanvasError(Exception):
    """Base of every error that a user can meet; the message is meant to be read by one."""

    exit_code = 1


class InputError(IcanvasError):
    """A bad setting, catalogue entry, command or picture array."""

    exit_code = 2


class SourceError(IcanvasError):
    """A source that is missing, refused (login, licence) or not what it should be."""

    exit_code = 3


class IntegrityError(IcanvasError):
    """An interrupted transfer or bytes that fail their check; running again resumes or repairs."""

    exit_code = 4


class CorruptObjectError(IntegrityError):
    """A stored object is not what was written: a second read would find the same."""


class StorageError(IcanvasError):
    """The store cannot be reached, read or written."""

    exit_code = 5


class ConflictError(StorageError):
    """A pointer moved between reading and writing it: another writer was first."""


class NotFoundError(StorageError):
    """The store holds no object of that key."""


# What to do about a stored object that is not what was written, where no more is known than that.
PREPARE_AGAIN = "Run `icanvas prepare` with its data set's name to make it anew."
