#!/bin/sh
# Makes the runs of this record, from the repository's root. PYTHON, HEBO_PYTHON and AX_PYTHON are interpreters of
# environments with the peers (README.md says which). Runs that are there already are not repeated.
set -e
export OMP_NUM_THREADS=1 PYTHONPATH=src
folder=records/2026-11-21-search-efficiency
run() {
    python=$1
    shift
    nice -n 10 "$python" -m benchmarks.efficiency run --tables all "$@"
}
all="--seeds 0-4 --out $folder/runs.jsonl"
run "$PYTHON" $all --methods random optuna:tpe hyperopt rustuna nevergrad optuna:cmaes
run "$PYTHON" --seeds 5-19 --out $folder/more-seeds.jsonl --methods optuna:tpe rustuna random
run "$PYTHON" $all --methods optuna:gp
run "$PYTHON" $all --methods smac
for seed in 0 1 2 3 4; do # hours
    run "$AX_PYTHON" --seeds $seed --out $folder/runs.jsonl --methods ax
    run "$HEBO_PYTHON" --seeds $seed --out $folder/runs.jsonl --methods hebo
done
