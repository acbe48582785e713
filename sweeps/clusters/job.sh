#!/bin/sh
# Made by medsweep launch. Run it in the project's folder, which is sent to the cluster.
set -eu
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$HOME/.ray/auth_token"
exec ray job submit --address http://127.0.0.1:8265 \
    --runtime-env "$(dirname "$0")/runtime_env.yaml" \
    --submission-id "medsweep-quickstart-$(date -u +%Y%m%dT%H%M%SZ)" \
    --no-wait -- medsweep run sweeps/quickstart.yaml --store /mnt/medsweep/store --yes --results /mnt/medsweep/results/quickstart --address auto
