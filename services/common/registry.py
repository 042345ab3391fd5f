"""The models this service knows, in one table, and the way from what an operator wrote to a checked checkpoint.

Called by the services at start and by `dsm-stt models`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.common.checkpoint import ALL_PARTS, Checkpoint, ModelFacts, Part
from services.common.checkpoint_check import check_config, verify
from services.common.checkpoint_source import CheckpointSource, Folder, Repository
from services.common.errors import CheckpointError
from services.common.hub import Hub


@dataclass(frozen=True)
class KnownModel:
    """One row of the table."""

    name: str
    facts: ModelFacts
    # On the hub, the one to take first; a model has either repositories or folders. To each the commit that is taken
    # unless "name@revision" says another; a branch where no commit is known.
    repositories: Mapping[str, str] = field(default_factory=dict)
    # Below the models folder, the one to take first.
    folders: tuple[str, ...] = ()
    # What config.json must say; it is also how a local copy is recognised.
    shape: Mapping[str, Any] = field(default_factory=dict)
    # For the list of models: None where only config.json says.
    pause_heads: int | None = None

    def differs(self, config: Mapping[str, Any]) -> str | None:
        """Say in what a config.json differs from this model, None if in nothing."""
        for key, wanted in self.shape.items():
            found = config.get(key)
            if key == "audio_delay_seconds":
                found = (config.get("stt_config") or {}).get(key)
            if found != wanted:
                return f"{key} is {found!r} instead of {wanted!r}"
        return None


# The delays in frames are asr_delay_in_tokens of the official server's configurations. The commits are those that
# several public projects pin and publish file sizes and results with; the sizes agree with our shapes.
KNOWN_MODELS: Mapping[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name="stt-1b-en_fr",
            facts=ModelFacts(delay_frames=6, language_codes=("en", "fr")),
            # The same weights; the candle repository has the pause heads too.
            repositories={
                "kyutai/stt-1b-en_fr-candle": "095e38f6242006a93c2541149b181988397f5c7c",
                "kyutai/stt-1b-en_fr": "main",
            },
            shape={
                "dim": 2048,
                "num_heads": 16,
                "num_layers": 16,
                "context": 750,
                "n_q": 32,
                "card": 2048,
                "text_card": 8000,
                "audio_delay_seconds": 0.5,
            },
            pause_heads=4,
        ),
        KnownModel(
            name="stt-2.6b-en",
            facts=ModelFacts(delay_frames=32, language_codes=("en",)),
            repositories={
                "kyutai/stt-2.6b-en": "a07aec56d22be5589cd0bc8709c75b6cf3e3039d",
                "kyutai/stt-2.6b-en-candle": "main",
            },
            shape={
                "dim": 2048,
                "num_heads": 32,
                "num_layers": 48,
                "context": 375,
                "n_q": 32,
                "card": 2048,
                "text_card": 4000,
                "audio_delay_seconds": 2.5,
            },
            pause_heads=0,
        ),
        KnownModel(
            name="dsm-tiny-en",
            facts=ModelFacts(language_codes=("en",)),
            # The second is the stand-in with seeded weights, for a checkout without trained ones.
            folders=("dsm-tiny-en", "untrained/dsm-tiny-en"),
        ),
    )
}

_CHECKOUT = Path(__file__).resolve().parents[2]
# Of the checkout; an installed package looks in the working directory, as container images do.
MODELS_FOLDER = _CHECKOUT / "models" if (_CHECKOUT / "pyproject.toml").is_file() else Path("models")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(
    spec: str, parts: Set[Part] = ALL_PARTS, *, hub: Hub | None = None, models_folder: Path = MODELS_FOLDER
) -> Checkpoint:
    """Find a checkpoint, fetch the files of the given parts, and check that they fit together.

    spec: the name of a known model, or a repository on the hub, both with an optional "@revision"; or a folder with
    the files of a repository. A folder that exists wins over a repository of the same spelling.
    Raises CheckpointError in one line if anything is missing or does not fit.
    """
    checkpoint = locate(spec, parts, hub=hub, models_folder=models_folder)
    for _ in verify(checkpoint, parts):
        pass
    return checkpoint


def locate(
    spec: str,
    parts: Set[Part] = ALL_PARTS,
    *,
    refresh: bool = False,
    hub: Hub | None = None,
    models_folder: Path = MODELS_FOLDER,
) -> Checkpoint:
    """Find a checkpoint and fetch the files of the given parts; of the checks only that of config.json is done.

    refresh: take the newest commit of a branch, not the one in the cache. The rest, and errors, as for `resolve`.
    """
    name, source, known = _source(spec, hub or Hub(), models_folder, refresh=refresh)
    config_file = source.file("config.json")
    if isinstance(source, Repository):
        source = source.at_commit_of(config_file)
    config = _read_json(config_file)
    check_config(config, source.origin)
    difference = known.differs(config) if known else None
    if known and difference:
        raise CheckpointError(f"config.json of {source.origin} is not that of {known.name}: {difference}")
    known = known or _recognise(name, config)
    checkpoint = Checkpoint(name, source.origin, config, {}, facts=known.facts if known else ModelFacts())
    files: dict[str, Path] = {}
    mimi_config = None
    if Part.CODEC in parts:
        if config.get("mimi_config_name"):
            files["mimi_config"] = source.file(str(config["mimi_config_name"]))
            mimi_config = _read_json(files["mimi_config"])
        files["mimi_weights"] = source.file(checkpoint.mimi_name)
    if Part.LM in parts:
        # The small one first: a wrong name in config.json shows before gigabytes are fetched.
        files["tokenizer"] = source.file(checkpoint.tokenizer_name)
        files["lm_weights"] = source.file(checkpoint.lm_name)
    return Checkpoint(name, source.origin, config, files, mimi_config, checkpoint.facts)


def in_reach(model: KnownModel, *, hub: Hub | None = None, models_folder: Path = MODELS_FOLDER) -> str | None:
    """Return where all files of a known model are on this machine, None if any would have to be fetched."""
    if model.folders:
        folder = _folder_with_weights(model, models_folder)
        return None if folder is None else str(folder)
    hub = hub or Hub()
    repository, pinned = next(iter(model.repositories.items()))
    config_file = hub.cached(repository, pinned, "config.json")
    if config_file is None:
        return None
    checkpoint = Checkpoint(model.name, repository, _read_json(config_file), {})
    names = (checkpoint.mimi_name, checkpoint.tokenizer_name, checkpoint.lm_name)
    here = all(hub.cached(repository, config_file.parent.name, name) for name in names)
    return str(config_file.parent) if here else None


def _source(
    spec: str, hub: Hub, models_folder: Path, *, refresh: bool
) -> tuple[str, CheckpointSource, KnownModel | None]:
    """Return the name to serve under, where the files are, and the row of the table if the spec names one."""
    bare, _, revision = spec.partition("@")
    known = KNOWN_MODELS.get(bare)
    if known and known.repositories:
        repository, pinned = next(iter(known.repositories.items()))
        return known.name, Repository(repository, revision or pinned, hub, refresh), known
    if known:
        if revision:
            raise CheckpointError(f"{spec}: {bare} comes with this repository and has no revisions")
        folder = _folder_with_weights(known, models_folder)
        if folder is None:
            raise CheckpointError(
                f"{bare} has no weights in {models_folder / known.folders[0]}: write an untrained stand-in with "
                f"`python -m training.seeded {models_folder / known.folders[-1]} --architecture tiny`"
            )
        return known.name, Folder(folder, hub), known
    if spec and Path(spec).expanduser().is_dir():
        path = Path(spec).expanduser()
        return path.resolve().name, Folder(path, hub), None
    if _REPOSITORY.fullmatch(bare):
        known = next((model for model in KNOWN_MODELS.values() if bare in model.repositories), None)
        name = known.name if known else bare.partition("/")[2]
        pinned = known.repositories[bare] if known else "main"
        return name, Repository(bare, revision or pinned, hub, refresh), known
    raise CheckpointError(
        f"no model {spec!r}: wanted one of {', '.join(KNOWN_MODELS)}, a repository such as kyutai/stt-2.6b-en, "
        "or a folder that exists"
    )


def _recognise(name: str, config: Mapping[str, Any]) -> KnownModel | None:
    """Return the row of the table that a copy belongs to: the one of its name if nothing differs, or of its shape."""
    candidates = [model for model in KNOWN_MODELS.values() if model.name == name or model.shape]
    return next((model for model in candidates if not model.differs(config)), None)


def _folder_with_weights(model: KnownModel, models_folder: Path) -> Path | None:
    """Return the first folder of a model that has a config.json and the LM weights it names."""
    for name in model.folders:
        folder = models_folder / name
        config_file = folder / "config.json"
        if config_file.is_file():
            weights = Checkpoint(model.name, str(folder), _read_json(config_file), {}).lm_name
            if (folder / weights).is_file():
                return folder
    return None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return config
