# The public names. They are listed here alone: type checkers read this file, and __init__.py does.

from vcloud import (
    auth as auth,
    bulk as bulk,
    cloud as cloud,
    emulator as emulator,
    errors as errors,
    instances as instances,
    providers as providers,
    testing as testing,
)
from vcloud._core.scalars import OpenEnum as OpenEnum
from vcloud._core.instance_state import (
    Capabilities as Capabilities,
    InstanceState as InstanceState,
)
from vcloud._core.endpoint_options import EndpointOptions as EndpointOptions
from vcloud._core.instances import (
    Controllable as Controllable,
    Instance as Instance,
    InstanceRef as InstanceRef,
)
from vcloud.instances import Instances as Instances
from vcloud._core.limits.shared_budget.budget import SharedBudget as SharedBudget
from vcloud._core.limits.windows import RateLimit as RateLimit
from vcloud._core.observe import (
    Attempt as Attempt,
    Observer as Observer,
    Queued as Queued,
    WaitReason as WaitReason,
)
from vcloud._core.paging.pager import (
    Page as Page,
    Pager as Pager,
    Taken as Taken,
)
from vcloud._core.paging.pages import (
    Items as Items,
    Pages as Pages,
)
from vcloud._core.request import (
    Request as Request,
    Response as Response,
)
from vcloud._core.retry import RetryPolicy as RetryPolicy
from vcloud._core.stats import Stats as Stats
from vcloud.errors.text import printable as printable
from vcloud.auth import (
    APIKeyAuth as APIKeyAuth,
    Auth as Auth,
    BearerAuth as BearerAuth,
    FileTokenStore as FileTokenStore,
    HMACAuth as HMACAuth,
    RedisTokenStore as RedisTokenStore,
    TokenStore as TokenStore,
)
from vcloud.bulk import (
    Bulk as Bulk,
    Journal as Journal,
    Outcome as Outcome,
    OutcomeStatus as OutcomeStatus,
    Settled as Settled,
    Totals as Totals,
)
from vcloud.cloud import (
    Endpoint as Endpoint,
    VCloud as VCloud,
)
from vcloud.errors import (
    APIError as APIError,
    AuthenticationError as AuthenticationError,
    CapacityError as CapacityError,
    CleanupError as CleanupError,
    ConfigurationError as ConfigurationError,
    ConflictError as ConflictError,
    ConnectError as ConnectError,
    ConnectTimeout as ConnectTimeout,
    DecodeError as DecodeError,
    InsufficientFundsError as InsufficientFundsError,
    InvalidArgumentError as InvalidArgumentError,
    InvalidRequestError as InvalidRequestError,
    LimitExceededError as LimitExceededError,
    NotFoundError as NotFoundError,
    PermissionDeniedError as PermissionDeniedError,
    RateLimitError as RateLimitError,
    RequestTimeout as RequestTimeout,
    ServerError as ServerError,
    TransportError as TransportError,
    UnsupportedError as UnsupportedError,
    VCloudError as VCloudError,
    WaitFailed as WaitFailed,
    WaitTimeout as WaitTimeout,
)
from vcloud.providers.computers import VagonComputers as VagonComputers
from vcloud.providers.desktops import Desktops as Desktops
from vcloud.providers.streams import VagonStreams as VagonStreams
from vcloud.providers.streamspace import StreamSpace as StreamSpace
from vcloud.providers.vagon import VagonCode as VagonCode

from vcloud._core.version import __version__ as __version__
