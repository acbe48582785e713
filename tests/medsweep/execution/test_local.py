"""The in-process runner keeps the contract."""

import pytest
from runner_contract import RunnerContract

from medsweep.execution.local import LocalRunner


class TestLocalRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> LocalRunner:
        return LocalRunner()
