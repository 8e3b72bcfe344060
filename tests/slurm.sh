#!/usr/bin/env bash
# A sweep on a real Slurm: jobs that are queued again in mid training end as if nobody had disturbed them.
#
#   apt-get install slurm-wlm munge && pip install -e '.[submitit]' && tests/slurm.sh
#
# Makes a cluster of this machine alone, as root, from a temporary folder, and takes it away again. One sweep is left
# alone. Of another, one job is queued again by the administrator, and one by itself as Slurm warns that its time ends.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "skipped: $1" >&2; exit 77; }
[ "$(id -u)" = 0 ] || skip "only root can make a cluster"
command -v slurmctld slurmd munged > /dev/null || skip "no Slurm; apt-get install slurm-wlm munge"
python -c "import hydra_plugins.hydra_submitit_launcher" 2> /dev/null || skip "no submitit; pip install -e '.[submitit]'"

here=$(mktemp -d)
export SLURM_CONF=$here/slurm.conf OMP_NUM_THREADS=1
finish() {
    scancel --user=root || true
    for daemon in slurmctld slurmd munged; do
        pid=$(cat "$here/$daemon.pid") || continue
        kill "$pid" && while kill -0 "$pid" 2> /dev/null; do sleep 0.2; done
    done
    rm -rf "$here"
}
trap finish EXIT

host=$(hostname -s)
cat > "$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
NodeName=$host CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
mkdir "$here/state" "$here/spool" "$here/munge"
chmod 755 "$here" "$here/munge"
(umask 077 && head -c 128 /dev/urandom > "$here/munge.key")
munged --force --key-file="$here/munge.key" --socket="$here/munge/socket" --pid-file="$here/munged.pid" \
    --log-file="$here/munged.log" --seed-file="$here/munged.seed"
slurmctld
slurmd
# Nobody keeps accounts here; submitit warns of that, and looks at its files instead.
until sinfo --noheader --format=%T | grep --quiet idle; do sleep 1; done

sweep() {
    python train.py -m experiment=tiny_copy seed=0,1 engine=eager logger=csv callbacks=none trainer.max_steps=400 \
        trainer.val_check_interval=40 task.validation_size=16 \
        hydra/launcher=slurm hydra.launcher.partition=main hydra.sweep.dir="$here/$1"
}
sweep alone

sweep disturbed &
for job in 0 1; do
    until [ -f "$here/disturbed/$job/checkpoints/last.ckpt" ]; do sleep 0.2; done
    id=$(squeue --noheader --array --format=%i | grep "_$job$")
    if [ $job = 0 ]; then scontrol requeue "$id"; else scancel --signal=USR2 "$id"; fi
    until scontrol update JobId="$id" StartTime=now 2> /dev/null; do sleep 0.5; done  # Slurm waits for two minutes
done
wait $!

python - "$here/alone" "$here/disturbed" <<'END'
import json
import sys
from pathlib import Path

import torch

for job in ("0", "1"):
    alone, disturbed = (Path(folder, job) for folder in sys.argv[1:])
    weights = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (alone, disturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    results = [json.loads((run / "results.json").read_text()) for run in (alone, disturbed)]
    for name in ("cost", "sequences", "test"):
        assert results[0][name] == results[1][name], name
    assert (alone / "metrics.csv").read_text() == (disturbed / "metrics.csv").read_text()
    assert "/last.ckpt" in (disturbed / ".hydra/resolved.yaml").read_text(), "it has not gone on from its checkpoint"
END
echo "Both jobs were queued again, and ended as if nobody had disturbed them."
