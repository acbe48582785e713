"""What is taken from the words of ``wandb sync``, which ends with exit code 0 whatever happens."""

import pytest

from medsweep.tracking.push import _reason

PROGRESS = "wandb: [p/gan-1] uploading media/html/failures_1.html; uploading error.png; [p/gan-2] updating (+ 2 more)"
DONE = "wandb: [p/gan-1] Finished syncing ../offline-run-1"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([PROGRESS, DONE], None),
        ([PROGRESS, "wandb: [p/gan-1] ERROR refused", DONE], "ERROR refused"),
        (["wandb: [p/gan-2] ERROR refused", DONE], None),
        ([PROGRESS, "wandb: ERROR Not authenticated."], "ERROR Not authenticated."),
        ([PROGRESS], "W&B's client said nothing of its end"),
        ([PROGRESS, "error: the upload was ended after 90 s"], "error: the upload was ended after 90 s"),
    ],
)
def test_a_run_is_uploaded_where_its_end_is_said_and_no_error(told: list[str], reason: str | None) -> None:
    assert _reason("gan-1", told) == reason
