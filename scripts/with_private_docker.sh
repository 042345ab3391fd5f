#!/usr/bin/env bash
# Runs a command with a Docker daemon of its own, on a Debian machine that has none and reaches no registry of images.
# Usage: scripts/with_private_docker.sh COMMAND [ARGUMENT…]      as root
#
# Installs Debian's docker.io and mmdebstrap if they are missing. Makes the base image from Debian's packages, since
# the official python image cannot be pulled: it is bookworm with Debian's own Python 3.11. What is tested with it is
# the Dockerfile and the services, not the official image and not Python 3.12. The command finds the daemon by
# DOCKER_HOST and the base image by PYTHON_IMAGE. When it ends, the daemon ends and everything it had made is removed.
# Images are kept in memory where 16 GiB of it are free, as removing a hundred thousand files takes a disk half a minute.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }

fail() { echo "with_private_docker.sh: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "wanted root, for dockerd and mmdebstrap; where there is a daemon, this script is not needed"
[ -d /sys/fs/cgroup ] && grep -q overlay /proc/filesystems || fail "this kernel has no cgroups or no overlay filesystem"

# /usr/bin/docker by its path: its BuildKit is built in, that of newer ones needs a plugin.
missing=()
for package in docker.io:/usr/bin/docker docker.io:/usr/sbin/dockerd mmdebstrap:/usr/bin/mmdebstrap iptables:/usr/sbin/iptables; do
  [ -x "${package#*:}" ] || missing+=("${package%%:*}")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get > /dev/null || fail "wanted Debian or Ubuntu, to install: ${missing[*]}"
  echo "Installing ${missing[*]} …"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

folder=$(mktemp -d -t dsm-stt-docker.XXXXXX)
# Rules and settings of the network that dockerd changes, to put back.
rules=$(iptables-save)
forwarding=$(cat /proc/sys/net/ipv4/ip_forward)

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  if [ -f "$folder/pid" ]; then
    docker ps --quiet | xargs --no-run-if-empty docker kill > /dev/null 2>&1 || true
    kill "$(cat "$folder/pid")" 2> /dev/null || true
    for _ in $(seq 100); do [ -f "$folder/pid" ] || break; sleep 0.2; done
  fi
  [ "$code" = 0 ] || tail -5 "$folder/dockerd.log" >&2 2> /dev/null || true
  awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs --no-run-if-empty umount -l
  iptables-restore <<< "$rules" || true
  echo "$forwarding" > /proc/sys/net/ipv4/ip_forward
  rm -rf "$folder"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$folder/bin" "$folder/data"
ln -s /usr/bin/docker "$folder/bin/docker"
export PATH=$folder/bin:$PATH:/usr/sbin
export DOCKER_HOST="unix://$folder/docker.sock" DOCKER_CONFIG="$folder/config" DOCKER_BUILDKIT=1
export PYTHON_IMAGE=dsm-stt/debian-python:bookworm
# Containers without a network of compose's have none; builds use the machine's.
export BUILD_NETWORK=host
available_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
if [ "$available_kib" -gt $((16 << 20)) ]; then
  mount -t tmpfs -o size=10g,mode=711 dsm-stt-docker "$folder/data"
fi
/usr/sbin/dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "$DOCKER_HOST" \
  --bridge none > "$folder/dockerd.log" 2>&1 &
for _ in $(seq 150); do
  docker info > /dev/null 2>&1 && break
  sleep 0.2
done
docker info > /dev/null 2>&1 || { cat "$folder/dockerd.log" >&2; fail "dockerd does not start"; }

echo "Making the base image from Debian's packages …"
began=$SECONDS
# usr-is-merged: without it, the package that merges /usr brings all of perl.
hooks=/usr/share/mmdebstrap/hooks/merged-usr
mmdebstrap --variant=apt --hook-dir="$hooks" --include=usr-is-merged,ca-certificates,python3,python3-venv bookworm - \
  2> "$folder/mmdebstrap.log" | docker import - "$PYTHON_IMAGE" > /dev/null ||
  { tail -5 "$folder/mmdebstrap.log" >&2; fail "mmdebstrap failed"; }
echo "Base image: $((SECONDS - began)) s, Debian's $(docker run --rm "$PYTHON_IMAGE" python3 -V)"

"$@"
