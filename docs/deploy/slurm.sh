#!/bin/bash
# A study on the nodes of a Slurm job: sbatch docs/deploy/slurm.sh my.yaml /shared/results/my
# Change the resources below. raprune must be installed on all nodes, and the results be on storage that all of them see.
# Ten minutes before the time is over the study stops cleanly: the same sbatch goes on from the last committed layers.
#SBATCH --job-name=raprune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@600
#SBATCH --requeue
set -euo pipefail

study=$1
out=$2
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one node get two ports
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_TMPDIR="/tmp/ray-$SLURM_JOB_ID"

on() { # only in the background or in $( ): the shell becomes srun, so that a signal reaches it
    exec srun --nodes=1 --ntasks=1 --overlap --nodelist="$@"
}
has=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}")

on "$head" ray start --block --head --port "$port" "${has[@]}" &
sleep "${HEAD_STARTS_S:-15}"
for node in "${nodes[@]:1}"; do
    on "$node" ray start --block --address "$head:$port" "${has[@]}" &
done
for _ in $(seq 60); do # a study takes what is there when it begins
    joined=$(on "$head" ray status --address "$head:$port" | grep -c ' node_' || true)
    [ "$joined" -ge "${#nodes[@]}" ] && break
    sleep 5
done

on "$head" raprune study "$study" --out "$out" --address "$head:$port" &
running=$!
trap 'kill -TERM "$running"' TERM
status=0
wait "$running" || status=$?
while kill -0 "$running" 2>/dev/null; do # the signal ended the wait, not the study
    status=0
    wait "$running" || status=$?
done
exit "$status"
