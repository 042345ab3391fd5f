"""Files of model repositories on the Hugging Face hub, kept in its usual cache. Used by the registry.

huggingface_hub does the work and brings its own settings: HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN, and progress
bars. What is added is one clear line, with the next step, for everything that can go wrong.
"""

from __future__ import annotations

import logging
from pathlib import Path

from services.common.errors import CheckpointError


class Hub:
    """A hub and a cache; without arguments the ones of the environment."""

    def __init__(self, *, endpoint: str | None = None, cache_folder: Path | None = None) -> None:
        self._endpoint = endpoint
        self._cache_folder = cache_folder

    def fetch(self, repository: str, revision: str, name: str, *, refresh: bool = False) -> Path:
        """Return the local path of a file, downloading it if it is not in the cache.

        repository: "owner/name". revision: branch, tag or commit. name: the file's name in the repository. refresh:
        ask the hub whether the revision has moved. Otherwise a file that is in the cache is taken as it is: a restart
        changes no weights and needs no network.
        Raises CheckpointError if the file cannot be had.
        """
        cached = None if refresh else self.cached(repository, revision, name)
        if cached is not None:
            return cached
        try:
            from huggingface_hub import hf_hub_download, utils  # noqa: PLC0415  # the gateway installs without it
        except ImportError:
            raise CheckpointError(
                f"{repository} is on the hub and huggingface_hub is not installed: pip install 'dsm-stt[lm,codec]'"
            ) from None
        if utils.logging.get_verbosity() == logging.WARNING:
            # Its default, with which every retry is a paragraph; the error says it all in the end.
            utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        try:
            return Path(
                hf_hub_download(
                    repository, name, revision=revision, endpoint=self._endpoint, cache_dir=self._cache_folder
                )
            )
        except (OSError, ValueError) as error:
            # Every error of huggingface_hub and of requests is one of these two.
            raise CheckpointError(self._explain(error, repository, revision, name)) from error

    def cached(self, repository: str, revision: str, name: str) -> Path | None:
        """Return the local path of a file that is in the cache, None if it is not; asks no network."""
        try:
            from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
        except ImportError:
            return None
        try:
            found = try_to_load_from_cache(repository, name, revision=revision, cache_dir=self._cache_folder)
        except ValueError:
            # No name of a repository: fetching it says so.
            return None
        return Path(found) if isinstance(found, str) else None

    def _explain(self, error: Exception, repository: str, revision: str, name: str) -> str:
        from huggingface_hub import constants, errors  # noqa: PLC0415

        endpoint = self._endpoint or constants.ENDPOINT
        file = f"{name} of {repository}@{revision}"
        pull = f"run `dsm-stt models pull {repository}@{revision}`"
        match error:
            case errors.LocalEntryNotFoundError(__cause__=errors.OfflineModeIsEnabled()):
                text = (
                    f"{file} is not in the cache and HF_HUB_OFFLINE is set: {pull} where there is network, "
                    f"or copy a filled cache to {self._cache_folder or constants.HF_HUB_CACHE}"
                )
            case errors.LocalEntryNotFoundError(__cause__=cause) if _status(cause):
                text = f"{endpoint} answered {_status(cause)} for {file}, which is not in the cache: try again later"
            case errors.LocalEntryNotFoundError():
                text = (
                    f"{endpoint} cannot be reached and {file} is not in the cache: check the network and HTTPS_PROXY, "
                    f"or {pull} elsewhere and copy its cache to {self._cache_folder or constants.HF_HUB_CACHE}"
                )
            case errors.GatedRepoError():
                text = (
                    f"{repository} is gated: accept its terms at {endpoint}/{repository} "
                    "and set HF_TOKEN to a token of that account"
                )
            case errors.RepositoryNotFoundError():
                text = (
                    f"{endpoint} has no repository {repository}, or it is private: check the name, "
                    "or set HF_TOKEN to a token that may read it"
                )
            case errors.RevisionNotFoundError():
                text = (
                    f"{repository} has no revision {revision}: take a commit, tag or branch of {endpoint}/{repository}"
                )
            case errors.EntryNotFoundError():
                text = f"{repository}@{revision} has no file {name}: is it a model in Kyutai's PyTorch or candle form?"
            case errors.HFValidationError():
                text = f"{repository!r} is not the name of a repository: wanted owner/name, e.g. kyutai/stt-2.6b-en"
            case errors.HfHubHTTPError():
                text = f"{endpoint} answered {_status(error)} for {file}: check HF_TOKEN, or try again later"
            case _:
                text = f"{file} cannot be fetched from {endpoint}: {type(error).__name__}: {_first_line(error)}"
        return text


def _status(error: BaseException | None) -> str:
    """Return the hub's answer to the request that failed, "" if there was none."""
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no detail")
