from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.gateway.access.api_key import Grant
from services.gateway.access.key_file import read_keys
from services.gateway.access.keys import ApiKeys
from tests.cli.conftest import Run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_new_key_is_printed_alone_and_works(run: Run, file: Path) -> None:
    result = run("keys", "new", "--file", file, "--id", "acme")
    assert result.exit_code == 0
    key = result.stdout.removesuffix("\n")
    assert ApiKeys(file).authenticate([("x-api-key", key)]).key_id == "acme"
    assert key not in result.stderr
    assert key not in file.read_text()


def test_the_file_may_come_from_the_environment(run: Run, file: Path) -> None:
    assert run("keys", "new", env={"DSM_API_KEYS_FILE": str(file)}).exit_code == 0
    assert len(read_keys(file)) == 1


def test_limits_are_written(run: Run, file: Path) -> None:
    limits = ("--model", "a", "--model", "b", "--max-streams", 2, "--audio-s-per-minute", 90, "--audio-burst-s", 600)
    run("keys", "new", "--file", file, *limits, "--expires", "2027-01-01T02:00:00+02:00")
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    assert read_keys(file)[0].grant == Grant(("a", "b"), 2, 90, 600, expires)


def test_a_day_without_a_zone_begins_in_utc(run: Run, file: Path) -> None:
    run("keys", "new", "--file", file, "--expires", "2027-01-01")
    assert read_keys(file)[0].grant.expires == datetime(2027, 1, 1, tzinfo=UTC)


def test_keys_without_a_name_get_different_ones(run: Run, file: Path) -> None:
    for _ in range(3):
        run("keys", "new", "--file", file)
    assert len({key.key_id for key in read_keys(file)}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--id", "a b"), "--id: wanted 1 to 64 of"),
        (("--id", "dsm_secret"), "not beginning with dsm_"),
        (("--id", "acme"), "has a key acme already"),
        (("--expires", "soon"), "--expires: wanted a time"),
        (("--max-streams", "0"), "--max-streams"),
        (("--max-streams", "9999999999"), "max_streams: wanted"),
        (("--audio-s-per-minute", "nan"), "audio_s_per_minute: wanted"),
        (("--audio-burst-s", "5"), "audio_burst_s: wanted audio_s_per_minute beside it"),
        (("--model", ""), "models: wanted"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    run: Run, file: Path, arguments: tuple[str, str], message: str
) -> None:
    run("keys", "new", "--file", file, "--id", "acme")
    before = file.read_text()
    result = run("keys", "new", "--file", file, *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert result.stdout == ""
    assert file.read_text() == before
    assert os.listdir(file.parent) == ["keys.json"]


def test_a_new_file_is_for_its_owner_only_and_an_old_one_keeps_its_mode(run: Run, file: Path) -> None:
    run("keys", "new", "--file", file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    run("keys", "new", "--file", file)
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(run: Run, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    run("keys", "new", "--file", link, "--id", "acme")
    assert link.is_symlink()
    assert [key.key_id for key in read_keys(file)] == ["acme"]


def test_two_changes_at_once_are_refused(run: Run, file: Path) -> None:
    (file.parent / "keys.json.new").touch()
    result = run("keys", "new", "--file", file)
    assert result.exit_code == 1
    assert "another change is under way" in result.stderr
    assert not file.exists()
    assert (file.parent / "keys.json.new").exists()


def test_a_file_with_a_mistake_is_left_as_it_is(run: Run, file: Path) -> None:
    file.write_text("{")
    for command in (("new",), ("list",), ("revoke", "acme")):
        result = run("keys", *command, "--file", file)
        assert result.exit_code == 1
        assert "wanted JSON" in result.stderr
    assert file.read_text() == "{"


def test_a_folder_that_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    result = run("keys", "new", "--file", tmp_path / "none" / "keys.json")
    assert result.exit_code == 1
    assert "cannot be written: No such file" in result.stderr


def test_a_revoked_key_stays_in_the_list_with_its_limits(run: Run, file: Path) -> None:
    run("keys", "new", "--file", file, "--id", "acme", "--max-streams", 2)
    run("keys", "new", "--file", file, "--id", "other")
    result = run("keys", "revoke", "acme", "--file", file)
    assert result.exit_code == 0
    acme, other = (key.grant for key in read_keys(file))
    assert acme == Grant(max_streams=2, revoked=True)
    assert other == Grant()


def test_revoking_what_is_not_there_fails(run: Run, file: Path) -> None:
    run("keys", "new", "--file", file)
    result = run("keys", "revoke", "nobody", "--file", file)
    assert result.exit_code == 2
    assert "has no key nobody" in result.stderr
    assert os.listdir(file.parent) == ["keys.json"]


def test_the_list_shows_what_keys_allow(run: Run, file: Path) -> None:
    run("keys", "new", "--file", file, "--id", "a", "--model", "[x]", "--max-streams", 1)
    run("keys", "new", "--file", file, "--id", "b", "--audio-s-per-minute", 90, "--expires", "2020-01-01")
    run("keys", "new", "--file", file, "--id", "c")
    run("keys", "revoke", "c", "--file", file)
    rows = [line.split() for line in run("keys", "list", "--file", file).stdout.splitlines()]
    assert rows[0] == ["id", "state", "models", "limits", "expires"]
    assert rows[1:] == [
        ["a", "good", "[x]", "1", "stream", "never"],
        ["b", "expired", "all", "90", "s", "a", "minute", "2020-01-01", "00:00", "UTC"],
        ["c", "revoked", "all", "none", "never"],
    ]
