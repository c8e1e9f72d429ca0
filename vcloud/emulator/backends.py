"""What the emulated desktops run on: memory, or a real X display each."""

from __future__ import annotations

from vcloud.emulator.desktops.backend import Backend


def is_real(backend: str, *, allow_exec: bool, loopback: bool, seeded: bool) -> bool:
    """Whether desktops are to be real.

    Raises:
        ValueError: the backend is unknown, or the other options make it unsafe.
    """
    if backend == "simulated":
        return False
    if backend != "x11":
        msg = f"the backend must be 'simulated' or 'x11', not {backend!r}"
        raise ValueError(msg)
    runs = "the x11 backend runs commands on this machine"
    if not allow_exec:
        msg = f"{runs}: pass allow_exec=True (--allow-exec) if that is what you want"
        raise ValueError(msg)
    if not loopback:
        msg = f"{runs}, so it is served on loopback only, without allow_remote"
        raise ValueError(msg)
    if seeded:
        msg = f"{runs}, so its keys must not follow from a seed"
        raise ValueError(msg)
    return True


def require_real() -> None:
    """Raise `x11.X11UnavailableError` if real desktops cannot start."""
    from vcloud.emulator.x11 import require  # noqa: PLC0415 - most emulators never need it

    require()


def real() -> Backend:
    """A backend with a real X display."""
    from vcloud.emulator.x11.backend import X11Backend  # noqa: PLC0415 - as above

    return X11Backend()
