"""The trial on plain folders that tests of stages are driven by."""

from medsweep.folder_trial import FolderTrial as FakeTrial
from medsweep.folder_trial import drain

__all__ = ["FakeTrial", "drain"]
