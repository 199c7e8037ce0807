"""Files to begin with: the skeleton of a source that is a package of its own."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pyproject.toml.txt": "pyproject.toml",
        "init.py.txt": "$name/__init__.py",
        "source.py.txt": "$name/source.py",
        "test_source.py.txt": "tests/test_source.py",
    }
)


class SkeletonNameError(ValueError):
    """A name that no source can have."""


def write_skeleton(name: str, folder: Path) -> list[Path]:
    """Write the package of a source that passes the conformance suite as it is.

    Args:
        name: The platform of its entries, such as `acme_ads`; also the name of the package.
        folder: Where it goes; made where it is not there.

    Returns:
        The files, in the order in which to look at them.

    Raises:
        SkeletonNameError: The name cannot be a platform.
        FileExistsError: One of the files is there already; nothing was written.
    """
    if not _NAME.fullmatch(name):
        raise SkeletonNameError(
            f"{name!r} is no name of a source: a lower case letter, then lower case letters, "
            "digits and underscores"
        )
    words = name.split("_")
    meaning = {
        "name": name,
        "distribution": name.replace("_", "-"),
        "class_name": "".join(word.capitalize() for word in words),
        "display_name": " ".join(word.capitalize() for word in words),
    }
    templates = files(__name__).joinpath("source")
    contents = {
        folder / Template(path).substitute(meaning): Template(
            templates.joinpath(template).read_text(encoding="utf-8")
        ).substitute(meaning)
        for template, path in _FILES.items()
    }
    for path in contents:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(contents)
