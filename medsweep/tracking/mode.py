"""Whether W&B is told at all, and whether over the network."""

import logging
import netrc
import os
from pathlib import Path
from typing import cast, get_args
from urllib.parse import urlsplit

from medsweep.errors import UserError, nearest
from medsweep.tracking.tracker import TrackingMode

logger = logging.getLogger(__name__)


def resolve_mode(flag: str | None) -> TrackingMode:
    """The W&B mode: ``flag``, else ``WANDB_MODE``, else online for a user who is logged in, else offline.

    Raises:
        UserError: the flag or the variable names no mode.
    """
    for source, value in (("the W&B mode", flag), ("WANDB_MODE", os.environ.get("WANDB_MODE"))):
        if not value:
            continue
        if value not in get_args(TrackingMode):
            hint = nearest(value, get_args(TrackingMode))
            raise UserError(f"{source} must be offline, online or disabled, got {value!r}; {hint}")
        return cast(TrackingMode, value)
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return path.exists() and host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError) as error:
        logger.warning("W&B stays offline, since the login in %s cannot be read: %s", path, error)
        return False
