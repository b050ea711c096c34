"""Small and read-only file systems for a command."""


def with_small_disk(folder: str, options: str) -> tuple[str, ...]:
    """Return the command prefix that mounts a small file system for a command.

    Parameters
    ----------
    folder : str
        Existing folder to mount it at.
    options : str
        Options of ``mount -t tmpfs``, such as ``size=64k``.

    Returns
    -------
    tuple of str
        Arguments that precede the command.
    """
    # In a mount namespace: other processes do not see it, and it is unmounted with the command.
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, folder)


def with_read_only(folder: str) -> tuple[str, ...]:
    """Return the command prefix that makes a folder read-only for a command.

    Parameters
    ----------
    folder : str
        Existing folder.

    Returns
    -------
    tuple of str
        Arguments that precede the command.
    """
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, folder)
