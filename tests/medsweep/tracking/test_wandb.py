"""The W&B mirror, read back with W&B's own reader from what it wrote offline; no server and no network."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsweep.errors import UserError
from medsweep.tracking.mode import resolve_mode
from medsweep.tracking.private import HIDDEN, flattened, redacted, scrubbed
from medsweep.tracking.tracker import LONGEST_NAME, RunCard, Tracker, clipped
from medsweep.tracking.wandb import WandbTracker, live_tracker
from medsweep.trial import Progress

DIGEST = "0123456789abcdef" * 4
SECRET = "f00d" * 10


@pytest.fixture(autouse=True)
def _no_wandb_outside(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "elsewhere" / name.lower()))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def card(digest=DIGEST, **changes):
    fields = {"run_id": f"segment-{digest[:16]}", "project": "injection-points", "name": "segment a", "group": "a"}
    fields |= {"job_type": "segment", "tags": ("a", "fold-2"), "config": {"segment.steps": 100, "arm": "a"}}
    return RunCard(**(fields | changes))


def part_with(folder, *steps):
    """The folder of a trial that an earlier attempt has reported in."""
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"step": step, "total": 100, "loss": 1.0 / step}) for step in steps]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def report(step, **pictures):
    return Progress(step=step, total=100, metrics={"loss": 1.0 / step}, pictures=pictures)


def records(folder):
    """Records of each segment below ``folder``, in order of their start."""
    wandb = Path(sys.executable).with_name("wandb")
    read = []
    for segment in (folder / "wandb").glob("offline-run-*"):
        command = [str(wandb), "leet", "inspect", "--json", str(segment)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        read.append([json.loads(line) for line in text.splitlines()])
    written = [segment for segment in read if of_kind(segment, "run")]
    return sorted(written, key=lambda segment: of_kind(segment, "run")[0]["start_time"])


def of_kind(segment, kind):
    return [record[kind] for record in segment if record["type"] == kind]


def steps(segment):
    return [row["item"]["segment/step"] for row in of_kind(segment, "history")]


def test_one_trial_over_two_segments(tmp_path):
    picture = tmp_path / "fakes.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture)
    folder = tmp_path / "mirror"
    tracker = WandbTracker(folder, "offline")
    tracker.begin(card(), tmp_path / "none")
    for step in (10, 20, 20, 30):
        tracker.log(report(step))
    tracker.end("out-of-memory")
    tracker.begin(card(), part_with(tmp_path / "part", 10, 20))
    for step in (10, 20, 30, 40):
        tracker.log(report(step, fakes=picture))
    tracker.end("complete")

    first, second = records(folder)
    assert steps(first) == [10, 20, 20, 30], "two reports of one step are two rows"
    assert steps(second) == [10, 20, 30, 40], "what the store has and W&B lacks comes first, and once"
    runs = [of_kind(segment, "run")[0] for segment in (first, second)]
    assert [run["run_id"] for run in runs] == ["segment-0123456789abcdef"] * 2
    assert [of_kind(segment, "exit")[0].get("exit_code", 0) for segment in (first, second)] == [1, 0]
    said = [summary["update"] for summary in of_kind(second, "summary")]
    assert "complete" in [update.get("outcome") for update in said]
    last = of_kind(second, "history")[-1]["item"]
    assert last["segment/loss"] == pytest.approx(1 / 40)
    assert len(list((folder / "wandb").glob(f"offline-run-*/files/{last['segment/fakes.path']}"))) == 1
    assert last["segment/fakes.width"] == 8
    assert picture.exists(), "the picture belongs to the trial's output and is copied, not moved"


def test_a_run_says_from_its_beginning_what_its_card_says_and_nothing_of_the_machine(tmp_path, monkeypatch):
    for name in ("NOTES", "TAGS", "RUN_ID", "NAME"):
        monkeypatch.setenv(f"WANDB_{name}", "of-another-program")
    folder = tmp_path / "mirror"
    tracker = WandbTracker(folder, "offline")
    tracker.begin(card(), tmp_path / "none")
    tracker.end("complete")
    (segment,) = (of_kind(records_of_run, "run")[0] for records_of_run in records(folder))
    assert (segment["project"], segment["job_type"], segment["run_group"]) == ("injection-points", "segment", "a")
    assert (segment["display_name"], sorted(segment["tags"])) == ("segment a", ["a", "fold-2"])
    assert {"segment.steps": 100, "arm": "a"}.items() <= segment["config"]["update"].items()
    assert "host" not in segment
    assert "of-another-program" not in json.dumps(segment)


def test_everything_stays_below_the_folder_and_the_environment_as_it_was(tmp_path):
    before = dict(os.environ)
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import os
from pathlib import Path
from medsweep.tracking.tracker import RunCard
from medsweep.tracking.wandb import WandbTracker
before = dict(os.environ)
tracker = WandbTracker(Path({str(tmp_path / "mirror")!r}), "offline")
card = RunCard(run_id="gan-1", project="s", name="gan", group="a", job_type="gan")
tracker.begin(card, Path("none"))
tracker.end("complete")
assert {{k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"}} == before, "environment changed"
"""
    bare = {name: value for name, value in before.items() if not name.startswith("WANDB_")} | {"HOME": str(home)}
    work = tmp_path / "work"
    work.mkdir()
    bare["PYTHONPATH"] = str(Path(__file__).parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=work, env=bare)
    assert list((tmp_path / "mirror" / "wandb").glob("offline-run-*"))
    assert list(home.rglob("*")) == []
    assert list(work.rglob("*")) == []


def test_nothing_is_logged_live_unless_online(tmp_path):
    assert isinstance(live_tracker(tmp_path, "online"), WandbTracker)
    for mode in ("offline", "disabled"):
        assert type(live_tracker(tmp_path, mode)) is Tracker


@pytest.mark.parametrize(("outcome", "code"), [("complete", 0), ("pruned", 0), ("stopped", 0), ("pool-dry", 1)])
def test_a_run_fails_only_where_its_trial_did(tmp_path, outcome, code):
    tracker = WandbTracker(tmp_path, "offline")
    tracker.begin(card(), tmp_path / "none")
    tracker.end(outcome)
    (segment,) = records(tmp_path)
    assert of_kind(segment, "exit")[0].get("exit_code", 0) == code


def test_a_failing_mirror_warns_once_and_comes_back_with_the_next_trial(tmp_path, caplog):
    folder = tmp_path / "mirror"
    tracker = WandbTracker(folder, "offline")
    tracker.begin(card(), tmp_path / "none")
    tracker.log(report(10, lost=tmp_path / "missing.png"))
    tracker.log(report(20, lost=tmp_path / "missing.png"))
    tracker.end("complete")
    assert len(warnings(caplog)) == 1
    assert "no longer mirrors this trial" in warnings(caplog)[0]
    tracker.begin(card(digest="8" * 64), tmp_path / "none")
    tracker.log(report(10))
    tracker.end("complete")
    failed, following = records(folder)
    assert steps(failed) == []
    assert steps(following) == [10]


def test_a_killed_helper_process_is_replaced_for_the_next_trial(tmp_path, caplog):
    tracker = WandbTracker(tmp_path / "mirror", "offline")
    tracker.begin(card(), tmp_path / "none")
    helpers = [pid for pid in child_processes() if Path(f"/proc/{pid}/comm").read_text().strip() == "wandb-core"]
    assert len(helpers) == 1
    os.kill(helpers[0], signal.SIGKILL)
    os.waitpid(helpers[0], 0)
    step = 0
    while not warnings(caplog):
        step += 1
        tracker.log(report(step))
    tracker.end("complete")
    assert len(warnings(caplog)) == 1
    tracker.begin(card(digest="8" * 64), tmp_path / "none")
    tracker.log(report(5))
    tracker.end("complete")
    assert len(warnings(caplog)) == 1
    assert steps(records(tmp_path / "mirror")[-1]) == [5]


def warnings(caplog):
    ours = [record for record in caplog.records if record.name == "medsweep.tracking.wandb"]
    assert all(record.levelno == logging.WARNING for record in ours)
    return [record.getMessage() for record in ours]


def child_processes():
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_a_mirror_that_cannot_begin_lets_the_trial_go_on(tmp_path, caplog):
    (tmp_path / "mirror").write_text("a file where the folder should be")
    tracker = WandbTracker(tmp_path / "mirror", "offline")
    tracker.begin(card(), tmp_path / "none")
    tracker.log(report(1))
    tracker.end("complete")
    assert len(warnings(caplog)) == 1
    (tmp_path / "mirror").unlink()
    tracker.begin(card(), tmp_path / "none")
    tracker.end("complete")
    assert len(records(tmp_path / "mirror")) == 1


def test_on_a_full_disk_the_client_is_not_started_and_one_line_says_so(tmp_path, monkeypatch, caplog):
    full = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr("medsweep.tracking.wandb.shutil.disk_usage", lambda path: full)
    tracker = WandbTracker(tmp_path / "mirror", "offline")
    for _ in range(3):
        tracker.begin(card(), tmp_path / "none")
        tracker.log(report(1))
        tracker.end("complete")
    assert warnings(caplog) == [
        f"W&B is told of no trial for 10 minutes (1 MiB are free at {tmp_path}, and 64 are needed)"
    ]
    assert list(tmp_path.iterdir()) == []


def test_redaction_by_name_and_by_shape():
    kept = {
        "patients": 20,
        "ratio": "1/2",
        "url": "https://example.org/a",
        "text": "image / mask",
        "path": "a/b",
        "n": None,
    }
    assert redacted(kept) == kept
    hidden = ["/home/x", "--root=/home/x", "see /data/a", "C:\\scans", "~/scans", "file:///x"]
    assert redacted(hidden) == [HIDDEN] * len(hidden)
    named = {"hf_TOKEN": 3, "Password": ["a"], "case_ids": ["c1"], "patient": "p1", "subjects": {"s1": 1}}
    named["leave_out"] = ("IBSR_05",)
    assert redacted(named) == dict.fromkeys(named, HIDDEN)
    assert redacted({"/data/p1": 1}) == {HIDDEN: 1}
    with pytest.raises(TypeError, match="levels is a set"):
        redacted({"levels": {1, 2}})


def test_a_tag_that_is_too_long_keeps_its_beginning_and_stays_apart_from_others():
    arm = "mc-sg-generator-and-discriminator-500-patients-filtered-at-0.7-"
    long, other = clipped(arm + "x" * 40), clipped(arm + "y" * 40)
    assert len(long) == len(other) == 64
    assert long != other
    assert long.startswith("mc-sg-generator")
    assert clipped("b-sg") == "b-sg"
    assert len(clipped("x" * 129, LONGEST_NAME)) == 128


def test_texts_lose_paths_and_people_and_nothing_else():
    told = "loss 1/2 of p7/a: cannot read '/data/p7.nii.gz', p70 is fine; see https://example.org/p"
    assert scrubbed(told, ["p7"]) == (
        "loss 1/2 of [hidden]/a: cannot read '[hidden]', p70 is fine; see https://example.org/p"
    )


def test_nested_settings_become_scalars():
    nested = {"gan": {"r1_gamma": 1.0, "channels": [4, 8], "more": {"on": True}}, "seed": None}
    told = {"gan.r1_gamma": 1.0, "gan.channels": "[4, 8]", "gan.more.on": True, "seed": None}
    assert flattened(nested) == told


def test_mode_is_the_flag_then_the_variable_then_the_login(tmp_path, monkeypatch):
    assert resolve_mode("online") == "online"
    assert resolve_mode(None) == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode(None) == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    assert resolve_mode(None) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert resolve_mode(None) == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {SECRET}\n")
    assert resolve_mode(None) == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.hospital.example")
    assert resolve_mode(None) == "offline", "a login at another server does not count"


def test_wandb_offline_in_a_settings_file_is_respected(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert resolve_mode(None) == "online"
    words = [str(Path(sys.executable).with_name("wandb")), "offline"]
    (tmp_path / "wandb").mkdir()
    subprocess.run(words, check=True, capture_output=True, env=dict(os.environ))
    assert resolve_mode(None) == "offline"
    assert resolve_mode("online") == "online", "the flag comes first"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode(None) == "disabled"


def test_an_unknown_mode_is_refused_with_the_nearest_one(monkeypatch):
    with pytest.raises(UserError, match=r"the W&B mode must be .*got 'ofline'; did you mean 'offline'"):
        resolve_mode("ofline")
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with pytest.raises(UserError, match="WANDB_MODE must be"):
        resolve_mode(None)
