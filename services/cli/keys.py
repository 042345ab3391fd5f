"""`dsm-stt keys`: makes, lists and revokes API keys in the file that gateways read."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from services.cli.console import EXIT_SERVICE, fail, note, out
from services.cli.key_edit import edited_keys
from services.common.errors import ConfigError
from services.gateway.access.api_key import Grant, new_key
from services.gateway.access.key_file import KEY_ID, KEY_ID_WANTED, read_keys

app = typer.Typer(help="Make, list and revoke API keys of the public API.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", envvar="DSM_API_KEYS_FILE", help="The keys file that the gateways read.")]


@app.command()
def new(
    file: File,
    key_id: Annotated[
        str | None, typer.Option("--id", help="What the key is called in logs and lists; without it, a random name.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model the key is for; repeat for more. Default: all.", metavar="NAME")
    ] = None,
    max_streams: Annotated[
        int | None, typer.Option(min=1, help="Streams and recordings at once, in each gateway. Default: any number.")
    ] = None,
    audio_s_per_minute: Annotated[
        float | None,
        typer.Option(
            help="Seconds of audio a minute, in each gateway; 60 is one live stream. Default: any amount.",
            metavar="SECONDS",
        ),
    ] = None,
    audio_burst_s: Annotated[
        float | None,
        typer.Option(
            help="Seconds of audio that may be saved up and sent at once. Default: those of one minute.",
            metavar="SECONDS",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            help="Until when it is good: 2027-01-01, or with a time, UTC unless it has a zone.", metavar="TIME"
        ),
    ] = None,
) -> None:
    """Make a key, print it, and add its hash to the keys file. Gateways take it up without a restart.

    The key is printed to stdout this once; no file has it.
    """
    key_id = f"key-{secrets.token_hex(4)}" if key_id is None else key_id
    if not KEY_ID.fullmatch(key_id):
        fail(f"--id: wanted {KEY_ID_WANTED}")
    grant = Grant(tuple(model or ()), max_streams, audio_s_per_minute, audio_burst_s, _time(expires))
    key, entry = new_key(key_id, grant)
    try:
        with edited_keys(file) as keys:
            if any(other.key_id == key_id for other in keys):
                fail(f"{file} has a key {key_id} already", "Choose another --id; revoke the old one later.")
            keys.append(entry)
    except ConfigError as error:
        fail(str(error), code=EXIT_SERVICE)
    print(key)
    note(f"Key {key_id} is in {file}. It is shown this once: the file has only its hash.")


@app.command("list")
def list_keys(file: File) -> None:
    """List the keys and what they allow; the keys themselves nobody can show."""
    try:
        keys = read_keys(file)
    except ConfigError as error:
        fail(str(error), code=EXIT_SERVICE)
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "state", "models", "limits", "expires"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("state", "expires"))
    for key in keys:
        grant = key.grant
        table.add_row(
            key.key_id,
            _state(grant),
            escape(", ".join(grant.models)) or "all",
            _limits(grant),
            "never" if grant.expires is None else f"{grant.expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        )
    out.print(table)


@app.command()
def revoke(file: File, key_id: Annotated[str, typer.Argument(metavar="ID", help="As in the list.")]) -> None:
    """Revoke a key for good. Its calls are refused, and its streams end at their next message."""
    try:
        with edited_keys(file) as keys:
            index = next((index for index, key in enumerate(keys) if key.key_id == key_id), None)
            if index is None:
                fail(f"{file} has no key {key_id}", "dsm-stt keys list shows them.")
            keys[index] = replace(keys[index], grant=replace(keys[index].grant, revoked=True))
    except ConfigError as error:
        fail(str(error), code=EXIT_SERVICE)
    note(f"Key {key_id} is revoked; gateways notice within seconds.")


def _state(grant: Grant) -> str:
    if grant.revoked:
        return "revoked"
    return "expired" if grant.expires is not None and datetime.now(UTC) >= grant.expires else "good"


def _limits(grant: Grant) -> str:
    limits = []
    if grant.max_streams is not None:
        limits.append(f"{grant.max_streams} {'stream' if grant.max_streams == 1 else 'streams'}")
    if grant.audio_s_per_minute is not None:
        limits.append(f"{grant.audio_s_per_minute:g} s a minute")
    if grant.audio_burst_s is not None:
        limits.append(f"{grant.audio_burst_s:g} s at once")
    return ", ".join(limits) or "none"


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--expires: wanted a time such as 2027-01-01 or 2027-01-01T12:00:00+02:00, got {text!r}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)
