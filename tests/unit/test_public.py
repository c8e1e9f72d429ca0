"""The public names; and that importing them loads nothing else."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import vcloud
from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth, VCloud
from vcloud._core.client import Client, session_of
from vcloud.cloud import Provider

VAGON = Endpoint(auth=HMACAuth("ak", "sk"))
ENDPOINTS: dict[str, Endpoint] = {
    "streams": VAGON,
    "computers": VAGON,
    "streamspace": Endpoint("https://streamspace.example/api/v1", auth=BearerAuth("token")),
    "desktops": Endpoint(auth=APIKeyAuth("key")),
}


def test_all_is_sorted_and_everything_in_it_exists() -> None:
    names = vars(vcloud)["__getattr__"]("__all__")
    assert names == sorted(names) == dir(vcloud)
    for name in names:
        assert getattr(vcloud, name) is not None
    everything: dict[str, object] = {}
    exec("from vcloud import *", everything)
    assert set(names) <= everything.keys()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Vcloud'"):
        getattr(vcloud, "Vcloud")  # noqa: B009


@pytest.mark.parametrize(
    "name",
    [
        "auth.HMACAuth",
        "bulk.Bulk",
        "cloud.VCloud",
        "emulator.Emulator",
        "errors.NotFoundError",
        "instances.InstanceState",
        "providers.computers.MachineStatus",
        "providers.desktops.Desktops",
        "providers.streams.VagonStreams",
        "providers.streamspace.StreamSpace",
        "providers.vagon.VagonCode",
        "testing.make_machine",
    ],
)
def test_a_module_that_type_checkers_know_is_there_without_an_import_of_its_own(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import vcloud; vcloud.{name}"], check=True)


def test_an_unknown_provider_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'computer'"):
        getattr(vcloud.providers, "computer")  # noqa: B009


def providers() -> dict[str, Provider[Any]]:
    return {name: one for name, one in vars(VCloud).items() if isinstance(one, Provider)}


def test_each_provider_is_a_keyword_and_an_attribute_of_the_facade_and_a_package() -> None:
    others = {"observers", "client_session", "streamspace_dialect"}
    keywords = set(inspect.signature(VCloud).parameters) - others
    assert set(providers()) == keywords == set(ENDPOINTS)
    cloud = VCloud(**ENDPOINTS)  # type: ignore[arg-type]
    for name, provider in providers().items():
        client = getattr(cloud, name)
        assert type(client) is provider.client_class()
        assert session_of(client).service.provider == name
        assert getattr(vcloud.providers, name).__name__ == f"vcloud.providers.{name}"


@pytest.mark.parametrize("refused", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", ["VCloud", *ENDPOINTS])
def test_a_client_refuses_to_be_pickled_or_copied_and_says_what_to_do(
    name: str, refused: Callable[[object], object]
) -> None:
    cloud = VCloud(**ENDPOINTS)  # type: ignore[arg-type]
    client: VCloud | Client = cloud if name == "VCloud" else getattr(cloud, name)
    said = rf"^{type(client).__name__} cannot be pickled or copied, .* make a new one"
    with pytest.raises(TypeError, match=said):
        refused(client)


def public_classes() -> list[type]:
    return [value for name in dir(vcloud) if isinstance(value := getattr(vcloud, name), type)]


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_every_public_method_has_a_docstring(cls: type) -> None:
    assert inspect.getdoc(cls)
    for name, member in inspect.getmembers(cls):
        if name.startswith("_") or not (
            callable(member) or isinstance(member, property | Provider)
        ):
            continue
        if (getattr(member, "__module__", "vcloud") or "").startswith("vcloud"):
            assert inspect.getdoc(member), f"{cls.__name__}.{name}"


def loaded_after(code: str) -> set[str]:
    probe = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    )
    return set(
        subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_vcloud_loads_nothing_but_itself() -> None:
    assert not {"aiohttp", "attrs", "cattrs", "msgspec", "asyncio"} & loaded_after("import vcloud")


def test_aiohttp_is_not_loaded_before_a_client_is_made() -> None:
    assert "aiohttp" not in loaded_after(
        "from vcloud import Endpoint, HMACAuth, VCloud, VCloudError"
    )
    made = "from vcloud import *\nVCloud(computers=Endpoint(auth=HMACAuth('ak', 'sk')))"
    assert "aiohttp" in loaded_after(made)
    assert "vcloud.emulator" not in loaded_after(made)


@pytest.mark.parametrize("wildcard", ["vcloud", "vcloud.providers.computers"])
def test_wildcard_import_gives_what_all_says(wildcard: str) -> None:
    space: dict[str, object] = {}
    exec(f"from {wildcard} import *", space)
    assert set(sys.modules[wildcard].__all__) <= set(space)


@pytest.mark.parametrize(
    "package",
    [
        "vcloud",
        "vcloud.bulk",
        "vcloud.emulator",
        "vcloud.testing",
        *[f"vcloud.providers.{name}" for name in ENDPOINTS],
    ],
)
def test_the_types_of_every_public_name_are_asserted(package: str) -> None:
    asserted = "".join(
        path.read_text("utf-8") for path in (Path(__file__).parents[1] / "typing").glob("*.py")
    )
    names: list[str] = import_module(package).__all__
    assert [name for name in names if not re.search(rf"\b{name}\b", asserted)] == []
