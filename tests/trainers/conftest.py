"""What is trained once for the tests of several rooms."""

import pytest

from helpers.judged_cohort import JudgedCohort


@pytest.fixture(scope="session")
def judged_cohort(tmp_path_factory: pytest.TempPathFactory) -> JudgedCohort:
    """A cohort with a judge; each pool that a test adds has a name of its own."""
    return JudgedCohort.made(tmp_path_factory.mktemp("judged"))
