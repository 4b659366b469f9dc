#!/bin/sh
# Makes .venv from requirements.lock, then installs this project into it (editable). `make` calls it; it can be run alone.
#   CUDA=1 infra/setup.sh    the CUDA build of torch; without it: CUDA where an NVIDIA GPU answers, the CPU build elsewhere
# PIP_FIND_LINKS (a folder or page of wheels) is honoured.
set -eu
cd "$(dirname "$0")/.."
UV_VERSION=0.13.8
say() { printf '%s\n' "set-up: $*" >&2; }

if [ ! -x .boot/bin/uv ]; then
  python=$(command -v python3.11 || command -v python3) || { say "Python 3.11 is needed: install python3.11 and run the same command again."; exit 2; }
  say "installing uv $UV_VERSION into .boot"
  "$python" -m venv .boot || { say "$python cannot make virtual environments: install python3-venv and run the same command again."; exit 2; }
  .boot/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi
[ -x .venv/bin/python ] || .boot/bin/uv venv --quiet --python 3.11 .venv

links="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
cuda="${CUDA:-}"
[ -n "$cuda" ] || { nvidia-smi -L 2>/dev/null | grep -q GPU && cuda=1; } || cuda=0
install() { UV_FIND_LINKS="$links" .boot/bin/uv pip install --quiet --python .venv/bin/python "$@"; }

say "installing requirements.lock into .venv (about 1.7 GB, a minute on a fast line)"
if [ "$cuda" = 1 ]; then
  links=""  # a local CPU wheel would win over the CUDA build of the package index
  say "torch: CUDA build"
  install -r requirements.lock
elif [ -d "$links" ] && ls "$links"/torch-*cpu*.whl >/dev/null 2>&1; then
  say "torch: CPU wheel from $links"
  install -r requirements.lock
elif install --torch-backend cpu -r requirements.lock; then
  say "torch: CPU build"
else
  say "the CPU build of torch could not be had from download.pytorch.org; taking the package index's build (larger, works on CPUs too)."
  install -r requirements.lock
fi
install --no-deps --no-build-isolation --editable .
say "done"
