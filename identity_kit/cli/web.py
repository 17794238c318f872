"""`idkit web`: the page in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from identity_kit.ui import tr

SUMMARY = ("在浏览器里做这一切", "do all of it in the browser")
EXAMPLES = ("idkit web", "idkit web runs/xiaowen --compare base", "idkit web --runs ~/my-runs --port 8000")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help=tr("打开后直接与它对话", "a model to talk to at once")
    )
    parser.add_argument("--compare", metavar="BASE", help=tr("并排比较的模型", "a model to set beside it"))
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=Path,
        default=Path("runs"),
        help=tr("运行目录所在（默认 runs）", "where the run folders are (runs)"),
    )
    parser.add_argument("--port", type=int, default=0, metavar="P", help=tr("端口（默认自动选）", "port (a free one)"))
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDR",
        help=tr(
            "监听地址（默认只有本机；其他地址需要密钥）", "address to listen on (this machine only; others need a key)"
        ),
    )
    parser.add_argument("--no-browser", action="store_true", help=tr("不打开浏览器", "do not open a browser"))


def run(args: argparse.Namespace) -> int | None:
    from identity_kit import ui
    from identity_kit.chat.engine import run_base
    from identity_kit.chat.web.server import Site, serve_page

    compare = run_base(args.model) if args.compare == "base" and args.model else args.compare

    def opened(address: str) -> None:
        ui.say(
            tr(
                f"网页：{address}（Ctrl-C 停止；已开始的训练会继续）",
                f"the page: {address} (Ctrl-C stops it; a training that was started goes on)",
            ),
            style="bold",
        )
        if not args.no_browser:
            import webbrowser

            webbrowser.open(address)

    try:
        serve_page(Site(args.runs, args.model, compare), port=args.port, host=args.host, opened=opened)
    except KeyboardInterrupt:
        ui.say(tr("已停止", "stopped"))
    return None
