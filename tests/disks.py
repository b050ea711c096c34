"""A small disk of a command's own, which fills up as a real one does."""


def with_small_disk(folder: str, options: str) -> tuple[str, ...]:
    """Return what a command runs behind to have a small disk as a folder.

    Parameters
    ----------
    folder : where the disk is mounted; it has to be there.
    options : of ``mount -t tmpfs``, as ``size=64k``.
    """
    # In a mount namespace: nobody else sees the disk, and it goes when the command ends.
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, folder)


def with_read_only(folder: str) -> tuple[str, ...]:
    """Return what a command runs behind to find a folder, with what is in it, read-only."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, folder)
