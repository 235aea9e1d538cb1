"""The real client of the Hub, all but its last layer: requests end in a repository kept in memory."""

import base64
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import rltemp
from rltemp.hub import load_policy_from_hub, push_policy

hub = pytest.importorskip("huggingface_hub")
if not hasattr(hub, "set_client_factory"):
    pytest.skip("this version of the client has another transport", allow_module_level=True)
httpx = importlib.import_module(type(hub.get_session()).__module__.partition(".")[0])  # httpx, or its successor

NAME = "someone/policy"
SHA = "0123456789012345678901234567890123456789"


class Endpoint:
    """As much of the Hub as a small model repository needs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.created: dict[str, Any] | None = None
        self.downloaded: list[str] = []
        self.sizes: dict[str, int] = {}

    def __call__(self, request: Any) -> Any:
        path = request.url.path
        if path == "/api/repos/create":
            self.created = json.loads(request.content)
            return httpx.Response(200, json={"url": f"https://huggingface.co/{NAME}", "id": NAME})
        if path.startswith("/api/validate-yaml"):
            return httpx.Response(200, json={"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = json.loads(request.content)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return httpx.Response(200, json={"files": modes})
        if "/commit/" in path:
            return self.commit(request)
        if path.startswith(f"/api/models/{NAME}/tree/"):
            return httpx.Response(200, json=[{"type": "file", "oid": "0", **entry} for entry in self.listing("path")])
        if path.startswith(f"/api/models/{NAME}"):
            info = {"id": NAME, "sha": SHA, "siblings": self.listing("rfilename"), "private": False, "tags": []}
            return httpx.Response(200, json=info)
        if "/resolve/" in path:
            return self.file(request)
        return httpx.Response(404, json={"error": path})

    def listing(self, key: str) -> list[dict[str, Any]]:
        return [{key: name, "size": self.sizes.get(name, len(content))} for name, content in self.files.items()]

    def commit(self, request: Any) -> Any:
        for line in map(json.loads, request.read().splitlines()):
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        url = f"https://huggingface.co/{NAME}/commit/{SHA}"
        return httpx.Response(200, json={"success": True, "commitUrl": url, "commitOid": SHA})

    def file(self, request: Any) -> Any:
        name = request.url.path.rpartition("/")[2]
        content = self.files[name]
        headers = {"X-Repo-Commit": SHA, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if request.method == "GET":
            self.downloaded.append(name)
        return httpx.Response(200, headers=headers, content=content)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    fake = Endpoint()
    hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(fake), follow_redirects=True))
    yield fake
    hub.set_client_factory(httpx.Client)
    hub.close_session()


@pytest.fixture
def policy() -> rltemp.LearnedPolicy:
    policy = rltemp.LearnedPolicy(rltemp.LogitFeatures(), (8,), card={"training": {"algorithm": "PPO"}})
    generator = torch.Generator().manual_seed(3)
    for parameter in policy.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return policy


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_policy_goes_to_the_hub_and_comes_back(
    endpoint: Endpoint, policy: rltemp.LearnedPolicy, tmp_path: Path, as_folder: bool
) -> None:
    given = rltemp.save_policy(policy, tmp_path / "policy") if as_folder else policy
    assert push_policy(given, NAME, private=True, token="hf_x") == f"https://huggingface.co/{NAME}/commit/{SHA}"
    assert endpoint.created is not None
    assert endpoint.created.get("visibility", "private" if endpoint.created.get("private") else "") == "private"
    assert sorted(endpoint.files) == ["README.md", "policy.json", "policy.safetensors"]

    endpoint.files["setup.py"] = b"raise SystemExit"
    loaded = load_policy_from_hub(NAME, token="hf_x", cache_dir=tmp_path / "cache")
    assert sorted(set(endpoint.downloaded)) == ["README.md", "policy.json", "policy.safetensors"]
    assert loaded.card == policy.card
    student, teacher, targets = torch.randn(5, 10), torch.randn(5, 10), torch.arange(5)
    ours, theirs = (one(student, teacher, targets, 0.5) for one in (policy, loaded))
    assert torch.equal(ours.teacher, theirs.teacher)


def test_the_lines_of_the_page(
    endpoint: Endpoint, policy: rltemp.LearnedPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reuse.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- tests/rltemp/test_hub.py runs this -->\n```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    rltemp.save_policy(policy, "runs/digits/train/policy")
    names: dict[str, Any] = {}
    exec(code.replace("owner/name", NAME).replace("a commit", SHA), names)
    assert names["policy"].card == policy.card


def test_a_hostile_repository_is_refused(endpoint: Endpoint, policy: rltemp.LearnedPolicy, tmp_path: Path) -> None:
    push_policy(policy, NAME, token="hf_x")
    endpoint.sizes["policy.safetensors"] = 1 << 40
    with pytest.raises(rltemp.InputError, match="repo_id must hold a policy of at most"):
        load_policy_from_hub(NAME, cache_dir=tmp_path / "first")
    assert endpoint.downloaded == []
    endpoint.sizes.clear()
    endpoint.files["policy.safetensors"] = b"\x80\x04cos\nsystem\n"
    with pytest.raises(rltemp.InputError, match=r"policy\.safetensors must"):
        load_policy_from_hub(NAME, cache_dir=tmp_path / "second")
    del endpoint.files["policy.safetensors"]
    with pytest.raises(rltemp.InputError, match=r"lacks policy\.safetensors"):
        load_policy_from_hub(NAME, cache_dir=tmp_path / "third")


def test_a_folder_that_does_not_load_is_not_pushed(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(rltemp.InputError, match="must be a policy's folder"):
        push_policy(tmp_path, NAME, token="hf_x")
    assert endpoint.created is None
