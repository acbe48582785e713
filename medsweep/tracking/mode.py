"""Whether W&B is told at all, and whether over the network."""

import configparser
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
    """The W&B mode.

    ``flag``, else ``WANDB_MODE``, else what ``wandb offline`` or ``wandb online`` has set, else online for a user who
    is logged in, else offline.

    Raises:
        UserError: one of them names no mode.
    """
    places = [("the W&B mode", flag), ("WANDB_MODE", os.environ.get("WANDB_MODE"))]
    places += [(f"mode in {path}", mode) for path in _settings_files() if (mode := _mode_in(path))]
    for source, value in places:
        if not value:
            continue
        if value not in get_args(TrackingMode):
            hint = nearest(value, get_args(TrackingMode))
            raise UserError(f"{source} must be offline, online or disabled, got {value!r}; {hint}")
        return cast(TrackingMode, value)
    return "online" if _logged_in() else "offline"


def _settings_files() -> list[Path]:
    """W&B's settings files, those of this folder before those of the user."""
    root = Path(os.environ.get("WANDB_DIR") or Path.cwd())
    own = root / (".wandb" if (root / ".wandb").exists() else "wandb")
    user = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    return [own / "settings", Path(user) / "settings"]


def _mode_in(path: Path) -> str | None:
    parser = configparser.ConfigParser()
    try:
        parser.read(path)
    except (OSError, configparser.Error) as error:
        logger.warning("W&B's settings in %s cannot be read: %s", path, " ".join(str(error).split()))
    return parser.get("default", "mode", fallback=None)


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
