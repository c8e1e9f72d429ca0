"""The files of a simulated desktop, and the directories that follow from them."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from fnmatch import fnmatchcase
from glob import escape
from posixpath import dirname, join, normpath
from typing import Final

from attrs import frozen

from vcloud.emulator.desktops.refusal import NotSimulatedError

USER: Final = "user"
HOME: Final = "/home/user"
HOST: Final = "desktop"
HOME_FILES: Final = {
    f"{HOME}/welcome.txt": "Welcome to your desktop.\n",
    "/etc/hostname": f"{HOST}\n",
}
_WHOLE: Final = (HOME, "/tmp")  # noqa: S108 - a path on the desktop, not on this machine
"""Directories that exist, with all that is in them."""
_OF_THE_SYSTEM: Final = "bin boot dev etc lib lib32 lib64 libx32 proc root run sbin sys usr var"
"""Directories that a real desktop has, with files that are not simulated."""


@frozen
class Files:
    """Files by absolute path, as a shell sees them from its directory."""

    files: MutableMapping[str, str]
    variables: MutableMapping[str, str]
    """The shell's variables; `PWD` is its directory."""

    @property
    def here(self) -> str:
        """The directory of the shell."""
        return self.variables.get("PWD", HOME)

    def absolute(self, path: str) -> str:
        """An absolute path for one that may be relative to the shell's directory.

        Raises:
            NotSimulatedError: a real desktop may have another file there.
        """
        if not path:
            raise NotSimulatedError("a path without a character")
        whole = normpath(join(self.here, path)).replace("//", "/")
        if whole not in self.files and whole.split("/")[1] in ("", *_OF_THE_SYSTEM.split()):
            raise NotSimulatedError(f"{whole}, a part of the system")
        return whole

    def read(self, path: str) -> str | None:
        """The content of a file; None if there is none."""
        return self.files.get(self.absolute(path))

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory with this absolute path."""
        return path in self._directories()

    def names(self, path: str) -> list[str]:
        """The names in a directory with this absolute path, sorted, without hidden ones."""
        there = (*self.files, *self._directories())
        names = {one.rpartition("/")[2] for one in there if dirname(one) == path and one != "/"}
        return sorted(name for name in names if not name.startswith("."))

    def matching(self, parts: Sequence[tuple[str, bool]]) -> list[str]:
        """The paths that match a pattern, sorted; its parts say whether they are quoted."""
        pattern = "".join(escape(text) if quoted else text for text, quoted in parts)
        steps = pattern.split("/")
        absolute = not steps[0]
        if absolute and escape(steps[1]) != steps[1]:
            raise NotSimulatedError("a pattern for names in the root directory")
        if "[:" in pattern or {"", ".", ".."} & set(steps[absolute:]):
            raise NotSimulatedError("a pattern of file names like this one")
        if absolute:
            self.absolute(f"/{steps[1]}")
        pattern = pattern.replace("[^", "[!")
        there = {*self.files, *self._directories()}
        prefix = "" if absolute else f"{self.here.rstrip('/')}/"
        found = {one.removeprefix(prefix) for one in there if one.startswith(prefix)}
        return sorted(one for one in found if _matches(one, pattern))

    def _directories(self) -> set[str]:
        found = {"/", "/home", *_WHOLE}
        for file in self.files:
            parent = dirname(file)
            while parent not in found:
                found.add(parent)
                parent = dirname(parent)
        return found


def _matches(path: str, pattern: str) -> bool:
    names, wanted = path.split("/"), pattern.split("/")
    return len(names) == len(wanted) and all(
        fnmatchcase(name, one) and (not name.startswith(".") or one.startswith("."))
        for name, one in zip(names, wanted, strict=True)
    )
