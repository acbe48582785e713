"""Whether W&B is told at all, and whether over the network."""

import base64
import configparser
import http.client
import json
import logging
import netrc
import os
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from medsweep.errors import UserError, nearest
from medsweep.tracking.tracker import TrackingMode

PREFLIGHT_SECONDS = 5.0
UPLOAD_SECONDS = 30.0
"""For which the upload of one file may stand still."""

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


def require_key() -> None:
    """Raise UserError where nobody is logged in to W&B."""
    if not _logged_in():
        raise UserError(
            f"nobody is logged in to W&B at {base_url()}; run wandb login, or set WANDB_API_KEY, or stay offline"
        )


def base_url() -> str:
    """Where W&B's server is."""
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def unreachable() -> str | None:
    """Why W&B's server would not take anything now, or None; asked once."""
    try:
        known = ask("query Viewer { viewer { id } }", {}).get("viewer")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{base_url()} cannot be used ({' '.join(str(error).split())})"
    return None if known else f"{base_url()} does not know the key"


def ask(query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B's server answers to a GraphQL query within ``PREFLIGHT_SECONDS``.

    Raises:
        OSError, ValueError, http.client.HTTPException: it refuses, or says nothing that can be read.
    """
    secret = base64.b64encode(f"api:{_key()}".encode()).decode()
    request = urllib.request.Request(
        f"{base_url()}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {secret}"},
    )
    with urllib.request.urlopen(request, timeout=PREFLIGHT_SECONDS) as answer:
        told = json.load(answer)
    data: dict[str, Any] | None = told.get("data")
    if not data and (errors := told.get("errors")):
        raise ValueError("; ".join(str(error.get("message")) for error in errors))
    return data or {}


def put(address: str, content: bytes, headers: Iterable[str]) -> None:
    """Send a file to an address that the server gave with ``headers``, lines of a name and a value.

    Raises:
        OSError, ValueError, http.client.HTTPException: it is refused, or the address is none.
    """
    # The address is signed for the headers that came with it; without one, urllib would add a type of its own.
    told = {"Content-Type": ""} | dict(line.split(":", 1) for line in headers)
    request = urllib.request.Request(address, data=content, headers=told, method="PUT")
    with urllib.request.urlopen(request, timeout=UPLOAD_SECONDS):
        pass


def owner(entity: str | None) -> str:
    """Who owns the project: ``entity``, else ``WANDB_ENTITY``, else the default of who is logged in.

    Raises:
        OSError, ValueError, http.client.HTTPException: the server must be asked, and does not say.
    """
    named = entity or os.environ.get("WANDB_ENTITY")
    if not named:
        named = (ask("query Viewer { viewer { entity } }", {}).get("viewer") or {}).get("entity")
    if not named:
        raise ValueError("it does not say whose project this is; give --entity")
    return str(named)


def _logged_in() -> bool:
    return bool(_key())


def _key() -> str:
    """The key of who is logged in, from the environment or from ``.netrc``; empty where nobody is."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    host = urlsplit(base_url()).hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        login = netrc.netrc(path).hosts.get(host) if path.exists() else None
    except (OSError, netrc.NetrcParseError) as error:
        logger.warning("W&B stays offline, since the login in %s cannot be read: %s", path, error)
        return ""
    return (login[2] or "") if login else ""
