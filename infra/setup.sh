#!/bin/sh
# Makes .venv from requirements.lock, then installs this project into it (editable). `make` calls it; it can be run alone.
#   CUDA=1 infra/setup.sh    the CUDA build of torch; without it: CUDA where an NVIDIA GPU answers, the CPU build elsewhere
# PIP_FIND_LINKS (a folder or page of wheels) is honoured. Every file is checked against its SHA-256 in the lock files, before
# anything of it runs; see infra/lock.py for what is in which.
set -eu
cd "$(dirname "$0")/.."
say() { printf '%s\n' "set-up: $*" >&2; }

altered() { # the package whose bytes are not those of the lock file, if that is what stopped the installer
  sed -n -e 's/.*Hash mismatch for `\([^=`]*\).*/\1/p' -e 's/^ *\([a-z0-9._-]*\)==.* from .*:$/\1/p' .boot/log | grep -m1 .
}
fail() {
  if name=$(altered); then
    say "$name is not one of the files that the lock files name (its SHA-256 differs), so nothing was installed: find out where it comes from (package index, mirror, PIP_FIND_LINKS) before you change a lock file."
    exit 3
  fi
  cat .boot/log >&2
  say "the packages could not be installed, see above; run the same command again when that is put right."
  exit 1
}

version=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' infra/installer.lock)
if [ "$(.boot/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$version" ]; then
  python=$(command -v python3.11 || command -v python3) || { say "Python 3.11 is needed: install python3.11 and run the same command again."; exit 2; }
  say "installing uv $version into .boot"
  "$python" -m venv .boot || { say "$python cannot make virtual environments: install python3-venv and run the same command again."; exit 2; }
  .boot/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r infra/installer.lock \
    2>.boot/log || fail
fi
[ -x .venv/bin/python ] || .boot/bin/uv venv --quiet --python 3.11 .venv

links="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
cuda="${CUDA:-}"
[ -n "$cuda" ] || { nvidia-smi -L 2>/dev/null | grep -q GPU && cuda=1; } || cuda=0
install() { UV_FIND_LINKS="$links" .boot/bin/uv pip install --quiet --python .venv/bin/python "$@" 2>.boot/log; }
locked() { install --require-hashes --build-constraints infra/build.lock "$@"; }
index() { locked -r requirements.lock -r infra/cuda.lock; }
cpu() { # the installer takes a hash for one build only, and the CPU builds have a version of their own
  sed 's/^torch==\([0-9.]*\)/torch==\1+cpu/' requirements.lock > .boot/cpu.lock
  locked -r .boot/cpu.lock "$@"
}

say "installing requirements.lock into .venv (about 1.7 GB, a minute on a fast line)"
if [ "$cuda" = 1 ]; then
  links=""  # a local CPU wheel would win over the CUDA build of the package index
  say "torch: CUDA build"
  index || fail
elif [ -d "$links" ] && ls "$links"/torch-*cpu*.whl >/dev/null 2>&1; then
  say "torch: CPU wheel from $links"
  cpu || fail
elif cpu --torch-backend cpu; then
  say "torch: CPU build"
elif altered && [ "$(altered)" != torch ]; then
  fail
else
  say "the CPU build of torch could not be had from download.pytorch.org, or is none of those in requirements.lock; taking the package index's build (larger, works on CPUs too)."
  index || fail
fi
install --no-deps --no-build-isolation --editable . || fail
say "done"
