"""What a trial's working folder is kept in step with where the store is not a folder itself."""

from pathlib import Path


class Elsewhere:
    """Nothing: in a store that is a folder, the working folder is all there is."""

    def require(self) -> None:
        """Raise LeaseLostError where another worker is known to have taken over."""

    def restore(self, part: Path) -> None:
        """Bring the newest checkpoint into the working folder, where a newer one is kept than it has."""

    def checkpoint(self, part: Path, step: int) -> None:
        """Keep the checkpoint of ``step`` that the working folder has."""

    def publish(self, part: Path) -> bool | None:
        """Publish what the manifest in ``part`` names; False where another worker was first, None to be renamed."""
        return None

    def release(self, *, published: bool) -> None:
        """Let others work on the trial."""
