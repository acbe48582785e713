"""A cluster on this host one of whose nodes has another disk in the place of the store; ``parted_cluster.py FOLDER``.

It prints what the run said as JSON. Mounting takes the right to do so; without it the first mount fails.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from helpers.clusters import cluster_of
from helpers.runner_contract import Notebook
from helpers.toy_run import context_of, long_plan
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.growth import living_nodes
from medsweep.execution.ray_runner import RayRunner

NODE = """
from medsweep.execution.ray_start import patient_nodes
from ray.scripts.scripts import main
with patient_nodes():
    main()
"""
PARTED = 'mount -t tmpfs none "$0" && exec "$@"'


def main(folder: Path) -> None:
    """A node that sees the store, and one that does not."""
    store, notebook = folder / "store", Notebook()
    store.mkdir()
    said = ""
    with cluster_of(num_cpus=1) as cluster:
        start = [sys.executable, "-c", NODE, "start", "--address", cluster.address, "--num-cpus=1", "--block"]
        subprocess.Popen(["unshare", "-m", "sh", "-c", PARTED, str(store), *start], stdout=subprocess.DEVNULL)
        try:
            with RayRunner(cluster.address) as runner:
                while len(living_nodes()) < 2:
                    time.sleep(0.2)
                run_plan(long_plan(folder / "log", pause=0.2), context_of(store), runner, notebook)
        except UserError as error:
            said = str(error)
    ends = [outcome for _, outcome in notebook.ends]
    sys.stdout.write(json.dumps({"said": said, "ends": ends, "notes": notebook.notes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
