"""Another distribution on the package index is called `marl`, too, and has a package of this name."""

from importlib import metadata


def other_distribution() -> str | None:
    """Says that the other one is installed beside this library, whose distribution is `networked-marl`, or None.

    Installed files are on record with their hashes: those of a build of an earlier version, left in a checkout, are not.
    """
    try:
        other = metadata.distribution("marl")
    except metadata.PackageNotFoundError:
        return None
    if not any(file.hash for file in other.files or () if file.as_posix() == "marl/__init__.py"):
        return None
    return (
        f"another distribution, marl {other.version}, is installed beside networked-marl and writes to the same folder: "
        "run `pip uninstall marl`, then `pip install --force-reinstall --no-deps networked-marl`"
    )
