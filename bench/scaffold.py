"""`bench new attack NAME`: a working plug-in to start from."""

import keyword
from importlib import resources
from pathlib import Path

import attacks.update
from attacks import attacks as registry
from protocols.check import CloisterError

__all__ = ["new_attack"]


def new_attack(name: str, directory: Path | None) -> Path:
    """Write a working update attack and return its file; into the package's own folder unless told otherwise.

    Raises: CloisterError for a name that is taken or no Python name, or an existing file.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name != name.lower():
        raise CloisterError(f"name = {name!r} is not allowed; allowed: a lower-case Python name, such as my_attack")
    if name in registry.entries():
        raise CloisterError(f"name = {name!r} is taken by {registry.entry(name).file}; choose another one")
    folder = directory or Path(attacks.update.__path__[0])
    path = folder / f"{name}.py"
    if path.exists():
        raise CloisterError(f"{str(path)!r} exists already; choose another name, or remove it")
    if not folder.is_dir():
        raise CloisterError(f"folder {str(folder)!r} does not exist; make it first")
    template = (resources.files("bench.templates") / "attack.py.txt").read_text(encoding="utf-8")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    path.write_text(template.format(name=name, class_name=class_name), encoding="utf-8")
    return path
