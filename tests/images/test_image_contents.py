"""What is in the images, and what is not."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks.containers import SERVICES, docker

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

each_image = pytest.mark.parametrize("service", SERVICES)


def inside(image: str, script: str) -> str:
    return docker("run", "--rm", "--network=none", "--read-only", "--entrypoint=sh", image, "-c", script)


@each_image
def test_processes_run_as_a_user_with_a_number_that_owns_nothing_they_run(images: dict[str, str], service: str) -> None:
    assert inside(images[service], "id -u; id -g") == "10001\n10001\n"
    assert inside(images[service], "find /app /opt/venv -user 10001 -o -perm -o+w ! -type l") == ""


@each_image
def test_there_is_nothing_to_build_or_install_with(images: dict[str, str], service: str) -> None:
    tools = "for tool in cc gcc ld as make uv git curl; do command -v $tool; done; ls /opt/venv/bin | grep -i pip"
    assert inside(images[service], f"{tools}; true") == ""


def test_the_gateway_has_neither_torch_nor_a_model(images: dict[str, str]) -> None:
    script = "ls /app; ls -d /opt/venv/lib/python3*/site-packages/*"
    found = inside(images["gateway"], script).split()
    assert not {"models", "torch", "moshi", "nvidia"} & {path.rpartition("/")[2] for path in found}


def test_both_workers_share_every_layer(images: dict[str, str]) -> None:
    codec, lm = (json.loads(docker("inspect", images[service]))[0]["RootFS"]["Layers"] for service in ("codec", "lm"))
    assert codec == lm


@each_image
def test_labels_say_what_it_is(images: dict[str, str], service: str) -> None:
    config = json.loads(docker("inspect", images[service]))[0]["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == f"dsm-stt-{service}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] in docker("run", "--rm", images[service], "--version")
    assert config["User"] == "10001:10001"


def test_a_wrong_setting_ends_a_container_with_one_line(images: dict[str, str]) -> None:
    command = ["docker", "run", "--rm", "--env=DSM_LM_SLOTS=0", images["lm"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: DSM_LM_SLOTS: wanted 1 to 4096, got 0")


def test_a_worker_that_finds_no_gpu_says_so(images: dict[str, str]) -> None:
    command = ["docker", "run", "--rm", "--env=DSM_DEVICE=cuda", images["lm"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cuda" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("service", ["codec", "lm"])
def test_the_embedded_model_is_there(images: dict[str, str], service: str) -> None:
    assert "dsm-tiny-en" in docker("run", "--rm", "--network=none", images[service], "models", "verify", "dsm-tiny-en")
