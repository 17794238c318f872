"""What is refused before anything is sent, and what arrives at a hub on loopback that speaks Hugging Face's protocol.

ModelScope's client is no dependency of ours, so sending there is not tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.export.push import push_folder


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    (tmp_path / "idkit.json").write_text("{}")
    return tmp_path


def test_a_name_without_an_owner(exported: Path) -> None:
    with pytest.raises(BadInput, match="is not OWNER/NAME"):
        push_folder(exported, "name")


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder that idkit exported"):
        push_folder(tmp_path, "me/name")


def test_nobody_is_logged_in(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="nobody is logged in") as caught:
        push_folder(exported, "me/name")
    assert caught.value.fix == "hf auth login"


def test_a_hub_that_is_not_there(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Stopped, match="did not succeed"):
        push_folder(exported, "me/name")


TOKEN = "hf_" + "canary" * 5


class Hub(ThreadingHTTPServer):
    """Takes a push as the hub does: create, ask how each file travels, large files by hash, then one commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.created: dict[str, object] = {}
        self.refuses = 0
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}


class _Requests(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._reply({"id": "me/wenxin", "sha": "0" * 40, "siblings": []})

    def do_PUT(self) -> None:
        body = self._body()
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._reply({"error": "Invalid credentials"}, 401)
        if self.server.refuses:
            return self._reply({"error": "You have no rights there"}, self.server.refuses)
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            return self._reply({"url": f"{self.server.url}/me/wenxin", "name": "me/wenxin", "id": "me/wenxin"})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [(name, "lfs" if name.endswith(".safetensors") else "regular") for name in names]
            files = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes]
            return self._reply({"files": files})
        if self.path.endswith("/lfs/objects/batch"):
            upload = {"upload": {"href": f"{self.server.url}/blob"}}
            objects = [{**each, "actions": upload} for each in json.loads(body)["objects"]]
            return self._reply({"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "lfsFile":
                    self.server.files[line["value"]["path"]] = self.server.blobs[line["value"]["oid"]]
            return self._reply({"commitUrl": f"{self.server.url}/me/wenxin/commit/1", "commitOid": "1"})
        return self._reply({})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reply(self, value: object, status: int = 200) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        if isinstance(value, dict) and "error" in value:
            self.send_header("X-Error-Message", str(value["error"]))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server
        server.shutdown()


def test_every_file_of_the_export_arrives_whole(hub: Hub, run: Path, tmp_path: Path, idkit: Callable) -> None:
    out = tmp_path / "out"
    export = ("export", run, "-o", out, "--format", "adapter", "--no-parity", "--json", "--push", "me/wenxin")
    done = idkit(*export)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pushed"] == f"{hub.url}/me/wenxin"
    assert hub.created.get("visibility") == "private" or hub.created.get("private") is True
    assert hub.files == {path.name: path.read_bytes() for path in out.iterdir()}
    assert TOKEN not in done.stdout + done.stderr
    assert not any(TOKEN.encode() in content for content in hub.files.values())


def test_a_refusal_is_given_in_the_hubs_own_words(hub: Hub, run: Path, tmp_path: Path, idkit: Callable) -> None:
    hub.refuses = 403
    done = idkit("export", run, "-o", tmp_path / "out", "--format", "adapter", "--no-parity", "--push", "me/wenxin")

    assert done.returncode == 3
    assert "the push did not succeed" in done.stderr
    assert "You have no rights there" in done.stderr
    assert TOKEN not in done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.files
