"""What a type checker knows of the factories. mypy and pyright read this only."""

from __future__ import annotations

from datetime import datetime
from typing import Unpack, assert_type

from vcloud.providers.computers import (
    AccessLink,
    ActiveTask,
    BaseImage,
    Machine,
    MachineSession,
    MachineType,
    MachineUser,
    MachineUserAttributes,
    PermissionField,
    Permissions,
    Software,
    Task,
    TaskActivation,
)
from vcloud.providers.desktops import ActionResult, Desktop, LaunchedDesktop, Point, Screenshot
from vcloud.providers.streams import (
    Application,
    Assignment,
    AudioDevice,
    Executable,
    Stream,
    StreamCapacity,
    StreamMachine,
    StreamTexts,
    VisitorSession,
)
from vcloud.providers.streams import User as StreamUser
from vcloud.providers.streamspace import (
    Agent,
    AgentCapacity,
    AgentCommand,
    AgentKey,
    AgentSession,
    AgentStats,
    AgentUpdate,
    CommandData,
    HibernateSession,
    Login,
    LoginUser,
    Resources,
    Session,
    SessionResult,
    SessionStatus,
    SessionUpdate,
    StartData,
    StartSession,
    StopData,
    StopSession,
    Template,
    TemplateResources,
    TemplateVNC,
    User,
    UserQuota,
    Utilization,
    VNCPort,
    VNCProxyData,
    VNCProxyRequest,
    WakeSession,
)
from vcloud.testing import (
    NOW,
    AccessLinkFields,
    ActionResultFields,
    ActiveTaskFields,
    AgentCapacityFields,
    AgentCommandFields,
    AgentFields,
    AgentKeyFields,
    AgentSessionFields,
    AgentStatsFields,
    AgentUpdateFields,
    ApplicationFields,
    AssignmentFields,
    AudioDeviceFields,
    BaseImageFields,
    Clock,
    CommandDataFields,
    DesktopFields,
    Emulator,
    ExecutableFields,
    Fault,
    LaunchedDesktopFields,
    LoginFields,
    LoginUserFields,
    MachineFields,
    MachineSessionFields,
    MachineTypeFields,
    MachineUserAttributesFields,
    MachineUserFields,
    PermissionFieldFields,
    PermissionsFields,
    PointFields,
    ResourcesFields,
    ScreenshotFields,
    SessionCommandFields,
    SessionFields,
    SessionResultFields,
    SessionStatusFields,
    SessionUpdateFields,
    SoftwareFields,
    StartDataFields,
    StartSessionFields,
    StopDataFields,
    StopSessionFields,
    StreamCapacityFields,
    StreamFields,
    StreamMachineFields,
    StreamTextsFields,
    StreamUserFields,
    TaskActivationFields,
    TaskFields,
    TemplateFields,
    TemplateResourcesFields,
    TemplateVNCFields,
    UserFields,
    UserQuotaFields,
    UtilizationFields,
    VisitorSessionFields,
    VNCPortFields,
    VNCProxyDataFields,
    VNCProxyRequestFields,
    make_access_link,
    make_action_result,
    make_active_task,
    make_agent,
    make_agent_capacity,
    make_agent_command,
    make_agent_key,
    make_agent_session,
    make_agent_stats,
    make_agent_update,
    make_application,
    make_assignment,
    make_audio_device,
    make_base_image,
    make_command_data,
    make_desktop,
    make_executable,
    make_hibernate_session,
    make_launched_desktop,
    make_login,
    make_login_user,
    make_machine,
    make_machine_session,
    make_machine_type,
    make_machine_user,
    make_machine_user_attributes,
    make_permission_field,
    make_permissions,
    make_point,
    make_resources,
    make_screenshot,
    make_session,
    make_session_result,
    make_session_status,
    make_session_update,
    make_software,
    make_start_data,
    make_start_session,
    make_stop_data,
    make_stop_session,
    make_stream,
    make_stream_capacity,
    make_stream_machine,
    make_stream_texts,
    make_stream_user,
    make_task,
    make_task_activation,
    make_template,
    make_template_resources,
    make_template_vnc,
    make_user,
    make_user_quota,
    make_utilization,
    make_visitor_session,
    make_vnc_port,
    make_vnc_proxy_data,
    make_vnc_proxy_request,
    make_wake_session,
    reset_ids,
)


def given() -> None:
    machine = make_machine(
        id=7, name="Ann's desk", friendly_status="ready", auto_stop_threshold=900
    )
    assert_type(machine, Machine)
    assert_type(machine.name, str | None)
    assert_type(NOW, datetime)
    assert_type(reset_ids(), None)
    with Emulator(machines=3, clock=Clock.stopped()) as emulator:
        emulator.faults.add("*", Fault.empty())


def access_link(**fields: Unpack[AccessLinkFields]) -> None:
    assert_type(make_access_link(**fields), AccessLink)


def action_result(**fields: Unpack[ActionResultFields]) -> None:
    assert_type(make_action_result(**fields), ActionResult)


def active_task(**fields: Unpack[ActiveTaskFields]) -> None:
    assert_type(make_active_task(**fields), ActiveTask)


def agent(**fields: Unpack[AgentFields]) -> None:
    assert_type(make_agent(**fields), Agent)


def agent_capacity(**fields: Unpack[AgentCapacityFields]) -> None:
    assert_type(make_agent_capacity(**fields), AgentCapacity)


def agent_command(**fields: Unpack[AgentCommandFields]) -> None:
    assert_type(make_agent_command(**fields), AgentCommand)


def agent_key(**fields: Unpack[AgentKeyFields]) -> None:
    assert_type(make_agent_key(**fields), AgentKey)


def agent_session(**fields: Unpack[AgentSessionFields]) -> None:
    assert_type(make_agent_session(**fields), AgentSession)


def agent_stats(**fields: Unpack[AgentStatsFields]) -> None:
    assert_type(make_agent_stats(**fields), AgentStats)


def agent_update(**fields: Unpack[AgentUpdateFields]) -> None:
    assert_type(make_agent_update(**fields), AgentUpdate)


def application(**fields: Unpack[ApplicationFields]) -> None:
    assert_type(make_application(**fields), Application)


def assignment(**fields: Unpack[AssignmentFields]) -> None:
    assert_type(make_assignment(**fields), Assignment)


def audio_device(**fields: Unpack[AudioDeviceFields]) -> None:
    assert_type(make_audio_device(**fields), AudioDevice)


def base_image(**fields: Unpack[BaseImageFields]) -> None:
    assert_type(make_base_image(**fields), BaseImage)


def command_data(**fields: Unpack[CommandDataFields]) -> None:
    assert_type(make_command_data(**fields), CommandData)


def desktop(**fields: Unpack[DesktopFields]) -> None:
    assert_type(make_desktop(**fields), Desktop)


def executable(**fields: Unpack[ExecutableFields]) -> None:
    assert_type(make_executable(**fields), Executable)


def hibernate_session(**fields: Unpack[SessionCommandFields]) -> None:
    assert_type(make_hibernate_session(**fields), HibernateSession)


def launched_desktop(**fields: Unpack[LaunchedDesktopFields]) -> None:
    assert_type(make_launched_desktop(**fields), LaunchedDesktop)


def login(**fields: Unpack[LoginFields]) -> None:
    assert_type(make_login(**fields), Login)


def login_user(**fields: Unpack[LoginUserFields]) -> None:
    assert_type(make_login_user(**fields), LoginUser)


def machine(**fields: Unpack[MachineFields]) -> None:
    assert_type(make_machine(**fields), Machine)


def machine_session(**fields: Unpack[MachineSessionFields]) -> None:
    assert_type(make_machine_session(**fields), MachineSession)


def machine_type(**fields: Unpack[MachineTypeFields]) -> None:
    assert_type(make_machine_type(**fields), MachineType)


def machine_user(**fields: Unpack[MachineUserFields]) -> None:
    assert_type(make_machine_user(**fields), MachineUser)


def machine_user_attributes(**fields: Unpack[MachineUserAttributesFields]) -> None:
    assert_type(make_machine_user_attributes(**fields), MachineUserAttributes)


def permission_field(**fields: Unpack[PermissionFieldFields]) -> None:
    assert_type(make_permission_field(**fields), PermissionField)


def permissions(**fields: Unpack[PermissionsFields]) -> None:
    assert_type(make_permissions(**fields), Permissions)


def point(**fields: Unpack[PointFields]) -> None:
    assert_type(make_point(**fields), Point)


def resources(**fields: Unpack[ResourcesFields]) -> None:
    assert_type(make_resources(**fields), Resources)


def screenshot(**fields: Unpack[ScreenshotFields]) -> None:
    assert_type(make_screenshot(**fields), Screenshot)


def session(**fields: Unpack[SessionFields]) -> None:
    assert_type(make_session(**fields), Session)


def session_result(**fields: Unpack[SessionResultFields]) -> None:
    assert_type(make_session_result(**fields), SessionResult)


def session_status(**fields: Unpack[SessionStatusFields]) -> None:
    assert_type(make_session_status(**fields), SessionStatus)


def session_update(**fields: Unpack[SessionUpdateFields]) -> None:
    assert_type(make_session_update(**fields), SessionUpdate)


def software(**fields: Unpack[SoftwareFields]) -> None:
    assert_type(make_software(**fields), Software)


def start_data(**fields: Unpack[StartDataFields]) -> None:
    assert_type(make_start_data(**fields), StartData)


def start_session(**fields: Unpack[StartSessionFields]) -> None:
    assert_type(make_start_session(**fields), StartSession)


def stop_data(**fields: Unpack[StopDataFields]) -> None:
    assert_type(make_stop_data(**fields), StopData)


def stop_session(**fields: Unpack[StopSessionFields]) -> None:
    assert_type(make_stop_session(**fields), StopSession)


def stream(**fields: Unpack[StreamFields]) -> None:
    assert_type(make_stream(**fields), Stream)


def stream_capacity(**fields: Unpack[StreamCapacityFields]) -> None:
    assert_type(make_stream_capacity(**fields), StreamCapacity)


def stream_machine(**fields: Unpack[StreamMachineFields]) -> None:
    assert_type(make_stream_machine(**fields), StreamMachine)


def stream_texts(**fields: Unpack[StreamTextsFields]) -> None:
    assert_type(make_stream_texts(**fields), StreamTexts)


def stream_user(**fields: Unpack[StreamUserFields]) -> None:
    assert_type(make_stream_user(**fields), StreamUser)


def task(**fields: Unpack[TaskFields]) -> None:
    assert_type(make_task(**fields), Task)


def task_activation(**fields: Unpack[TaskActivationFields]) -> None:
    assert_type(make_task_activation(**fields), TaskActivation)


def template(**fields: Unpack[TemplateFields]) -> None:
    assert_type(make_template(**fields), Template)


def template_resources(**fields: Unpack[TemplateResourcesFields]) -> None:
    assert_type(make_template_resources(**fields), TemplateResources)


def template_vnc(**fields: Unpack[TemplateVNCFields]) -> None:
    assert_type(make_template_vnc(**fields), TemplateVNC)


def user(**fields: Unpack[UserFields]) -> None:
    assert_type(make_user(**fields), User)


def user_quota(**fields: Unpack[UserQuotaFields]) -> None:
    assert_type(make_user_quota(**fields), UserQuota)


def utilization(**fields: Unpack[UtilizationFields]) -> None:
    assert_type(make_utilization(**fields), Utilization)


def visitor_session(**fields: Unpack[VisitorSessionFields]) -> None:
    assert_type(make_visitor_session(**fields), VisitorSession)


def vnc_port(**fields: Unpack[VNCPortFields]) -> None:
    assert_type(make_vnc_port(**fields), VNCPort)


def vnc_proxy_data(**fields: Unpack[VNCProxyDataFields]) -> None:
    assert_type(make_vnc_proxy_data(**fields), VNCProxyData)


def vnc_proxy_request(**fields: Unpack[VNCProxyRequestFields]) -> None:
    assert_type(make_vnc_proxy_request(**fields), VNCProxyRequest)


def wake_session(**fields: Unpack[SessionCommandFields]) -> None:
    assert_type(make_wake_session(**fields), WakeSession)
