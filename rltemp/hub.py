"""Policies on the Hugging Face Hub (the extra `rltemp[hub]`), in the format of `rltemp.policies.artifact`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rltemp.errors import InputError
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy

__all__ = ["load_policy_from_hub", "push_policy"]

_FILES = ["policy.safetensors", "policy.json", "README.md"]
_MOST_BYTES = 1 << 30
"""Most bytes that are downloaded; the format allows no policy of this size."""


def push_policy(
    policy: LearnedPolicy | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload a temperature policy",
) -> str:
    """Upload a policy's three files to a repository of the Hub, which is created if it does not exist.

    Args:
        policy: a policy, or the folder of a saved one.
        repo_id: "owner/name".
        private: whether a new repository is private.
        token: of an account that may write; by default that of the logged-in account.
        message: commit message.

    Returns:
        The URL of the commit.

    Raises:
        InputError: for a folder that `load_policy` refuses, or an installation without the extra.
    """
    client = _client()
    if not isinstance(policy, LearnedPolicy):
        policy = load_policy(policy)
    api = client.HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_policy(policy, Path(scratch) / "policy")
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=_FILES, commit_message=message)
    return str(commit.commit_url)


def load_policy_from_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> LearnedPolicy:
    """Load a policy from the Hub with the checks of `load_policy`: nothing in the repository is executed.

    Only the policy's three files are downloaded, and only if they are no larger than a policy can be.

    Args:
        repo_id: "owner/name".
        revision: a branch, tag, or commit; by default the main branch. Only a commit always gives the same policy.
        token: of an account that may read a private repository.
        cache_dir: where downloads are kept; by default the Hub client's cache.

    Raises:
        InputError: for a repository without a complete policy of this format, or an installation without the extra.
    """
    client = _client()
    info = client.HfApi(token=token).model_info(repo_id, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if file.rfilename in _FILES}
    if sum(sizes.values()) > _MOST_BYTES:
        raise InputError(f"repo_id must hold a policy of at most {_MOST_BYTES} bytes, got {sum(sizes.values())}")
    snapshot = client.snapshot_download(
        repo_id, revision=info.sha, allow_patterns=_FILES, token=token, cache_dir=cache_dir
    )
    with tempfile.TemporaryDirectory() as scratch:
        # The cache consists of links, which `load_policy` does not follow.
        for name in _FILES:
            if (Path(snapshot) / name).is_file():
                shutil.copyfile(Path(snapshot) / name, Path(scratch) / name)
        return load_policy(scratch)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError('the Hub needs the package of the extra: pip install "rltemp[hub]"') from error
    return huggingface_hub
