"""Another distribution on the package index is called `marl`, too, and has a package of this name."""

from importlib import metadata


def other_distribution() -> str | None:
    """Says that the other one is installed beside this library, whose distribution is `networked-marl`, or None.

    Installed is what has a record of its files: a build of an earlier version of this library, in a checkout, has none.
    """
    try:
        other = metadata.distribution("marl")
    except metadata.PackageNotFoundError:
        return None
    if not any(line.startswith("marl/__init__.py,") for line in (other.read_text("RECORD") or "").splitlines()):
        return None
    return (
        f"another distribution, marl {other.version}, is installed beside networked-marl and writes to the same folder: "
        "run `pip uninstall marl`, then `pip install --force-reinstall --no-deps networked-marl`"
    )
