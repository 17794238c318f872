"""The README's commands run as they are written, or say why not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "README.zh-CN.md")


def blocks(page: str) -> list[str]:
    """The shell blocks of a page, in order."""
    return re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def reason(block: str) -> str:
    """Why a block is not run by the test below; empty when it is."""
    if block.startswith("# "):
        return block.splitlines()[0].removeprefix("# ")
    if "pip install" in block:
        return "installs: continuous integration does it before it runs the tests"
    return ""


def test_both_pages_show_the_same_commands():
    assert blocks(PAGES[0]) == blocks(PAGES[1])
    assert len(blocks(PAGES[0])) >= 8


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_commands_run_in_order(wenxin_run: Path):
    home = wenxin_run.parent.parent
    (home / "data").symlink_to(ROOT / "data")
    for block in blocks(PAGES[0]):
        if why := reason(block):
            print(f"not run ({why}): {block.splitlines()[-1]}")
            continue
        for line in block.splitlines():
            command = f'"{sys.executable}" -m identity_kit {line.removeprefix("idkit ")}'
            done = subprocess.run(["bash", "-c", command], cwd=home, capture_output=True, text=True, timeout=1200)
            assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
