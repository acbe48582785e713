"""Writing a launch's files, and handing them to the cluster's own program."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from medsweep.errors import UserError
from medsweep.launch.render import Rendered


def write(rendered: Rendered, folder: Path) -> list[Path]:
    """Write the files into ``folder``, over those of an earlier launch.

    Raises:
        UserError: the folder cannot be written.
    """
    paths = [folder / name for name in rendered.files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_text(rendered.files[path.name], encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written ({error.strerror}); choose another folder") from None
    return paths


def in_folder(command: Sequence[str], rendered: Rendered, folder: Path) -> list[str]:
    """``command`` with the files' names as paths."""
    return [str(folder / word) if word in rendered.files else word for word in command]


def submit(rendered: Rendered, folder: Path) -> int:
    """Run the command that submits; its exit code.

    Raises:
        UserError: the cluster's program is not installed.
    """
    if shutil.which(rendered.needs) is None:
        raise UserError(
            f"no program {rendered.needs} is on the PATH; submit the files in {folder} where it is, or install it"
        )
    return subprocess.run(in_folder(rendered.command, rendered, folder), check=False).returncode
