"""How the Computers client makes each documented call."""

from __future__ import annotations

from datetime import timedelta

from vcloud.providers.computers import Permissions

ALL_PERMISSIONS = Permissions(
    public_internet_access=True,
    can_download_from_vagon_workstation=True,
    can_upload_to_workstation=True,
    analytics_collection_enabled=False,
    clipboard_enabled=True,
    screen_recording_enabled=False,
    input_recording_enabled=False,
)

CALLS = {
    "machines.list": [lambda c: c.machines.list().all()],
    "machines.create": [
        lambda c: c.machines.create(
            1,
            quantity=1,
            region="dublin",
            software_ids=[],
            base_image_id=100,
            permissions=ALL_PERMISSIONS,
        )
    ],
    "machines.update": [
        lambda c: c.machines.ref("100").update(auto_stop_threshold=900, usage_source="machine")
    ],
    "machines.start": [lambda c: c.machines.ref("100").start()],
    "machines.available_machine_types": [lambda c: c.machines.ref("100").available_machine_types()],
    "machines.machine_type": [lambda c: c.machines.ref("100").set_machine_type("15")],
    "machines.stop": [lambda c: c.machines.ref("100").stop(gracefully=True)],
    "machines.access": [lambda c: c.machines.ref("100").create_access_link(timedelta(hours=1))],
    "machines.reset": [lambda c: c.machines.ref("100").reset(remove_files=True)],
    "machines.permissions": [lambda c: c.machines.ref("100").set_permissions(ALL_PERMISSIONS)],
    "machines.sessions.list": [lambda c: c.machines.ref("100").sessions.list().all()],
    "machines.tasks.list": [lambda c: c.machines.ref("100").tasks.list().all()],
    "machines.tasks.create": [lambda c: c.machines.ref("100").tasks.activate("task-012")],
    "machines.tasks.delete": [lambda c: c.machines.ref("100").tasks.ref("21").delete()],
    "software.list": [lambda c: c.software.list().all()],
    "machines.permission_fields": [lambda c: c.machines.permission_fields()],
}

#: Operations whose documented answer does not decode strictly, with the reason.
DRIFT: dict[str, str] = {}
