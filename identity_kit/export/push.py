"""Push an exported folder to a hub, with the login that the user already has there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from identity_kit.errors import BadInput, Stopped
from identity_kit.export.folder import MANIFEST
from identity_kit.ui import tr


def push_folder(folder: Path, name: str, *, hub: Literal["hf", "modelscope"] = "hf", public: bool = False) -> str:
    """Create `name` (OWNER/NAME) on the hub when it is not there, and upload the folder; returns its address.

    Raises:
        BadInput: the name has no owner, the folder is no export, nobody is logged in, or modelscope is not installed.
        Stopped: the hub refused, or was not reached.
    """
    if name.count("/") != 1 or not all(name.split("/")):
        raise BadInput(tr(f"“{name}” 不是 用户/名称", f'"{name}" is not OWNER/NAME'), where="--push")
    if not (folder / MANIFEST).is_file():
        raise BadInput(tr("这不是 idkit 的导出目录", "this is no folder that idkit exported"), where=str(folder))
    try:
        return _push_modelscope(folder, name, public) if hub == "modelscope" else _push_hf(folder, name, public)
    except (BadInput, Stopped):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Stopped(
            tr(f"推送没有成功：{reason}", f"the push did not succeed: {reason}"),
            where=name,
            fix=tr(
                "检查网络与权限，再运行同一条命令", "check the network and your rights there, then run the same command"
            ),
        ) from error


def _push_hf(folder: Path, name: str, public: bool) -> str:
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise BadInput(tr("还没有登录 Hugging Face", "nobody is logged in to Hugging Face"), fix="hf auth login")
    api = HfApi()
    address = api.create_repo(name, private=not public, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload with identity-kit")
    return str(address)


def _push_modelscope(folder: Path, name: str, public: bool) -> str:
    try:
        from modelscope.hub.api import HubApi  # type: ignore[import-not-found]
    except ImportError:
        raise BadInput(
            tr("没有安装 modelscope", "modelscope is not installed"), fix="python -m pip install modelscope"
        ) from None
    import os

    api = HubApi()
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    if token:
        api.login(token)
    api.create_repo(name, repo_type="model", visibility="public" if public else "private", exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Upload with identity-kit")
    return f"https://modelscope.cn/models/{name}"
