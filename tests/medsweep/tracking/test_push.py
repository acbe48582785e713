"""What is taken from the words of ``wandb sync``, which ends with exit code 0 whatever happens."""

import json
from pathlib import Path

import pytest

from medsweep.tracking import push as pushing
from medsweep.tracking.mirror import INDEX, Mirror
from medsweep.tracking.mirrored_run import MirroredRun
from medsweep.tracking.push import _reason, push

RUN = MirroredRun(run_id="gan-1", project="s", name="gan", group="a", job_type="gan")
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


@pytest.mark.parametrize("content", [b"torn", b":W&B\x00\x00\x00" + b"\x00\x00\x00\x00\x02\x00\x01\xff\xff"])
def test_a_run_whose_file_is_damaged_is_named_and_the_server_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    mirror = Mirror(tmp_path, "s")
    (mirror.folder / "one").mkdir(parents=True)
    (mirror.folder / "one" / "run-gan-1.wandb").write_bytes(content)
    (mirror.folder / INDEX).write_text(json.dumps({"gan-1": {"kind": "trial", "fingerprint": "f", "folder": "one"}}))
    monkeypatch.setattr(pushing, "ask", lambda *_: {})
    pushed = push(mirror, None, None, {"gan-1": RUN})
    assert list(pushed.failed) == ["gan-1"]
    assert pushed.failed["gan-1"].startswith("its file cannot be read (")
    assert (pushed.uploaded, pushed.url) == ((), "")
