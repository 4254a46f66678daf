"""Models of the Hugging Face Hub: fetched once, safetensors alone, hashes checked."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from vqspeech.errors import CheckpointError, DependencyError
from vqspeech.pretrained.bundled import CARD_FILE, check_hashes
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE

log = logging.getLogger("vqspeech")
_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


def is_hub_id(given: str) -> bool:
    """Whether a text has the form owner/name or owner/name@revision.

    Examples
    --------
    >>> is_hub_id("anna/voices@v1"), is_hub_id("fsdd"), is_hub_id("/runs/fsdd"), is_hub_id("runs/a/b")
    (True, False, False, False)
    """
    return _ID.fullmatch(given) is not None


def fetch_model(given: str) -> Path:
    """The model file of owner/name[@revision], its prior beside it; from the cache if the Hub cannot be reached.

    Raises
    ------
    DependencyError
        If huggingface_hub is not installed.
    CheckpointError
        If there is no such repository, it holds no safetensors model, a hash is not what its card states, or neither
        the Hub can be reached nor was the model fetched before.
    """
    match = _ID.fullmatch(given)
    assert match, given
    repo, revision = match["repo"], match["revision"]
    hub = _client(given)
    try:
        found = hub.HfApi().model_info(repo, revision=revision)
    except Exception as reason:  # noqa: BLE001 - the client's own errors, its HTTP library's and the system's
        file = _from_cache(hub, given, repo, revision, reason)
        whence = f"the Hugging Face Hub cannot be reached: taking {given} as it was fetched before"
    else:
        names = {sibling.rfilename for sibling in found.siblings or ()}
        _refuse_unsafe(given, names)
        try:
            # By the name that was asked for, which the cache then knows without the network.
            paths = [hub.hf_hub_download(repo, name, revision=revision) for name in _WANTED if name in names]
        except Exception as reason:  # noqa: BLE001 - likewise
            raise _unreachable(given, reason) from None
        file = Path(paths[0])
        whence = f"{repo} from the Hugging Face Hub, revision {(found.sha or '?')[:12]}"
    check_hashes(file.parent, f"Delete {file.parent} and fetch it again; if it stays so, tell the owner of {repo}")
    log.info(whence)
    return file


_WANTED = (MODEL_FILE, PRIOR_FILE, CARD_FILE)


def _client(given: str) -> Any:
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise DependencyError(
            f"there is no model at {given}. If a model of the Hugging Face Hub is meant, huggingface_hub is needed. "
            "Install it: pip install 'vqspeech[hub]'"
        ) from None
    disable_progress_bars()  # a few MB
    return huggingface_hub


def _refuse_unsafe(given: str, names: set[str]) -> None:
    if MODEL_FILE in names:
        return
    if pickled := sorted(name for name in names if name.endswith(_PICKLED)):
        raise CheckpointError(
            f"{given} holds pickled weights only ({', '.join(pickled[:3])}), and unpickling runs whatever code its "
            f"author put there: refused. Ask the owner for a {MODEL_FILE} made by vqspeech pack"
        )
    raise CheckpointError(
        f"{given} holds no {MODEL_FILE} ({len(names)} other files): it is no model of vqspeech. Check the id"
    )


def _from_cache(hub: Any, given: str, repo: str, revision: str | None, reason: Exception) -> Path:
    """What an earlier call fetched, where the Hub could not be asked; else the reason as a sentence."""
    errors = hub.errors
    if isinstance(reason, errors.GatedRepoError):
        raise CheckpointError(
            f"{given} asks its users to agree to terms first. Do so at https://huggingface.co/{repo}, then log in: "
            "hf auth login"
        ) from None
    if isinstance(reason, errors.RepositoryNotFoundError):
        raise CheckpointError(
            f"there is no model at {given}: no such folder here, and no such repository on the Hugging Face Hub (or it "
            "is private: hf auth login). List the models at hand with: vqspeech models"
        ) from None
    if isinstance(reason, errors.RevisionNotFoundError):
        raise CheckpointError(f"{repo} has no revision {revision!r}. Leave it out, or look it up on the Hub") from None
    try:
        return Path(hub.hf_hub_download(repo, MODEL_FILE, revision=revision, local_files_only=True))
    except Exception:  # noqa: BLE001 - not fetched before, in whatever way the client says so
        raise _unreachable(given, reason) from None


def _unreachable(given: str, reason: Exception) -> CheckpointError:
    first = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return CheckpointError(
        f"there is no model at {given} here, and the Hugging Face Hub cannot be reached ({first}). Check the path or "
        "the network, or choose a model at hand: vqspeech models"
    )
