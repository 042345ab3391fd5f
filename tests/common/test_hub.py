from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import CheckpointError
from services.common.hub import Hub
from tests.fakes.hub import COMMIT, FakeHub, fill_cache, running

REPOSITORY = "kyutai/stt-test"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeHub]:
    files = tmp_path / "files"
    files.mkdir()
    (files / "config.json").write_text("{}")
    with running(FakeHub({REPOSITORY: files})) as hub:
        yield hub


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Hub:
    return Hub(endpoint=fake.endpoint, cache_folder=tmp_path / "cache")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub waits 23 s in all between its attempts."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def test_a_file_is_fetched_into_the_cache(hub: Hub, tmp_path: Path) -> None:
    path = hub.fetch(REPOSITORY, "main", "config.json")
    assert path.read_text() == "{}"
    assert path.is_relative_to(tmp_path / "cache")
    assert hub.cached(REPOSITORY, "main", "config.json") == path


def test_a_file_in_the_cache_is_taken_without_asking_the_hub(hub: Hub, fake: FakeHub) -> None:
    hub.fetch(REPOSITORY, "main", "config.json")
    fake.requests.clear()
    hub.fetch(REPOSITORY, "main", "config.json")
    assert fake.requests == []


def test_refreshing_takes_the_newest_commit(hub: Hub, fake: FakeHub) -> None:
    hub.fetch(REPOSITORY, "main", "config.json")
    fake.commit = "f" * 40
    (fake.repositories[REPOSITORY] / "config.json").write_text('{"new": 1}')
    assert hub.fetch(REPOSITORY, "main", "config.json").parent.name == COMMIT
    assert hub.fetch(REPOSITORY, "main", "config.json", refresh=True).read_text() == '{"new": 1}'


@pytest.mark.usefixtures("impatient")
def test_refreshing_without_network_takes_what_the_cache_has(tmp_path: Path, fake: FakeHub) -> None:
    cached = fill_cache(tmp_path / "cache", REPOSITORY, fake.repositories[REPOSITORY])
    unreachable = Hub(endpoint="http://127.0.0.1:9", cache_folder=tmp_path / "cache")
    assert unreachable.fetch(REPOSITORY, "main", "config.json", refresh=True) == cached / "config.json"


def test_a_repository_that_does_not_exist_may_be_private(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"has no repository kyutai/none, or it is private: .* HF_TOKEN"):
        hub.fetch("kyutai/none", "main", "config.json")


def test_a_gated_repository_wants_its_terms_accepted(hub: Hub, fake: FakeHub) -> None:
    fake.gated.add(REPOSITORY)
    with pytest.raises(
        CheckpointError, match=r"stt-test is gated: accept its terms at http://.*/stt-test and set HF_T"
    ):
        hub.fetch(REPOSITORY, "main", "config.json")


def test_a_revision_that_does_not_exist_is_named(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"kyutai/stt-test has no revision v9: take a commit, tag or branch of"):
        hub.fetch(REPOSITORY, "v9", "config.json")


def test_a_file_that_the_repository_lacks_is_named(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"kyutai/stt-test@main has no file model.safetensors"):
        hub.fetch(REPOSITORY, "main", "model.safetensors")


def test_what_is_no_repository_name_is_told_how_one_looks(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"'a/b/c' is not the name of a repository: wanted owner/name"):
        hub.fetch("a/b/c", "main", "config.json")


@pytest.mark.usefixtures("impatient")
def test_a_hub_out_of_order_is_told_from_a_missing_network(hub: Hub, fake: FakeHub) -> None:
    fake.status = 503
    with pytest.raises(CheckpointError, match=r"answered HTTP 503 for config.json of kyutai/stt-test@main.*try again"):
        hub.fetch(REPOSITORY, "main", "config.json")


def test_a_refused_token_is_told(hub: Hub, fake: FakeHub) -> None:
    fake.status = 401
    with pytest.raises(CheckpointError, match=r"answered HTTP 401 for .*: check HF_TOKEN"):
        hub.fetch(REPOSITORY, "main", "config.json")


@pytest.mark.usefixtures("impatient")
def test_no_network_names_the_way_to_fetch_elsewhere(tmp_path: Path) -> None:
    hub = Hub(endpoint="http://127.0.0.1:9", cache_folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"http://127.0.0.1:9 cannot be reached and config.json .* HTTPS_PROXY"):
        hub.fetch(REPOSITORY, "main", "config.json")


def test_a_full_disk_or_a_read_only_cache_is_told(fake: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    hub = Hub(endpoint=fake.endpoint, cache_folder=tmp_path / "cache")
    with pytest.raises(CheckpointError, match=r"config.json of .* cannot be fetched from .*: \w+Error: .*cache"):
        hub.fetch(REPOSITORY, "main", "config.json")


def test_offline_a_file_that_is_not_cached_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    line = _in_a_process_of_its_own("fetch('kyutai/stt-test', 'main', 'config.json')", tmp_path)
    assert "config.json of kyutai/stt-test@main is not in the cache and HF_HUB_OFFLINE is set" in line
    assert "run `dsm-stt models pull kyutai/stt-test@main` where there is network" in line


def test_offline_a_cached_file_is_found_below_hf_home(tmp_path: Path, fake: FakeHub) -> None:
    cached = fill_cache(tmp_path / "hub", REPOSITORY, fake.repositories[REPOSITORY])
    line = _in_a_process_of_its_own("fetch('kyutai/stt-test', 'main', 'config.json', refresh=True)", tmp_path)
    assert line == str(cached / "config.json")


def _in_a_process_of_its_own(call: str, hf_home: Path) -> str:
    """Run one call of a Hub offline: huggingface_hub reads its environment when it is imported."""
    code = (
        "from services.common.hub import Hub\n"
        "from services.common.errors import CheckpointError\n"
        f"try: print(Hub().{call})\n"
        "except CheckpointError as error: print(error)"
    )
    environment = os.environ | {"HF_HOME": str(hf_home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
