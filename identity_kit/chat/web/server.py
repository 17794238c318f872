"""The page's server: aiohttp on loopback, a few JSON routes over RUN folders, streamed answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from identity_kit import ui
from identity_kit.chat.engine import Settings, run_base
from identity_kit.chat.web import jobs, workspace
from identity_kit.chat.web.guard import LOOPBACK, add_headers, make_guard
from identity_kit.chat.web.talking import Engines, stream_in_thread
from identity_kit.errors import BadInput, IdkitError
from identity_kit.ui import tr

PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("app", "views", "chat", "words", "dom")},
}
_EXPORTS = ("hf", "adapter", "gguf", "ollama")
_MAX_BODY = 4 << 20


@dataclass(frozen=True)
class Site:
    """What a page works on.

    Attributes:
        root: the folder of RUN folders.
        model, compare: models to chat with that are no runs of `root`, when the user named them.
    """

    root: Path
    model: str | None = None
    compare: str | None = None


SITE = web.AppKey("site", Site)
ENGINES = web.AppKey("engines", Engines)


def make_app(site: Site, *, port: int, host: str = "127.0.0.1", key: str | None = None) -> web.Application:
    """The application with its routes and its guard."""
    app = web.Application(middlewares=[make_guard(port, host, key), _known_errors], client_max_size=_MAX_BODY)
    app[SITE], app[ENGINES] = site, Engines()
    app.on_response_prepare.append(add_headers)
    for path in _FILES:
        app.router.add_get(path, _page_file)
    routes: list[tuple[str, str, Callable[[web.Request], Any]]] = [
        ("GET", "/api/site", _show_site),
        ("POST", "/api/runs", _create_run),
        ("GET", "/api/runs/{run}", _show_run),
        ("PUT", "/api/runs/{run}/persona", _save_persona),
        ("GET", "/api/runs/{run}/rows", _show_rows),
        ("POST", "/api/runs/{run}/rows", _change_row),
        ("POST", "/api/runs/{run}/start", _start),
        ("POST", "/api/runs/{run}/stop", _stop),
        ("POST", "/api/runs/{run}/export", _export),
        ("POST", "/api/chat", _chat),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    app.on_cleanup.append(_close)
    return app


async def _close(app: web.Application) -> None:
    await asyncio.to_thread(app[ENGINES].forget)


@web.middleware
async def _known_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """A known failure is one line of JSON for the page to show."""
    try:
        return await handler(request)
    except workspace.Conflict as error:
        return web.json_response({"error": str(error)}, status=409)
    except IdkitError as error:
        return web.json_response({"error": str(error)}, status=400)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)


async def _page_file(request: web.Request) -> web.Response:
    name, kind = _FILES[request.path]
    return web.Response(text=(PAGE / name).read_text(encoding="utf-8"), content_type=kind, charset="utf-8")


def _run(request: web.Request) -> Path:
    return workspace.run_folder(request.app[SITE].root, request.match_info["run"])


async def _show_site(request: web.Request) -> web.Response:
    site = request.app[SITE]
    runs = await asyncio.to_thread(workspace.list_runs, site.root)
    talk = None if site.model is None else {"model": site.model, "compare": site.compare}
    return web.json_response({"root": str(site.root.resolve()), "runs": runs, "talk": talk, "language": ui.language()})


async def _create_run(request: web.Request) -> web.Response:
    body = await request.json()
    folder = workspace.create_run(request.app[SITE].root, str(body["name"]).strip(), body["persona"])
    return web.json_response({"name": folder.name})


async def _show_run(request: web.Request) -> web.Response:
    folder = _run(request)

    def show() -> dict[str, Any]:
        return workspace.show_run(folder) | {"job": jobs.job_state(folder)}

    return web.json_response(await asyncio.to_thread(show))


async def _save_persona(request: web.Request) -> web.Response:
    body = await request.json()
    version = workspace.save_run_persona(_run(request), body["persona"], body["version"])
    return web.json_response({"version": version})


async def _show_rows(request: web.Request) -> web.Response:
    query = request.query
    offset, limit = max(0, int(query.get("offset", 0))), min(200, max(1, int(query.get("limit", 50))))
    rows = await asyncio.to_thread(
        lambda: workspace.show_rows(
            _run(request), query=query.get("q", ""), kind=query.get("kind", ""), offset=offset, limit=limit
        )
    )
    return web.json_response(rows)


async def _change_row(request: web.Request) -> web.Response:
    body = await request.json()
    version = await asyncio.to_thread(
        lambda: workspace.change_row(_run(request), body["version"], messages=body["messages"])
    )
    return web.json_response({"version": version})


async def _start(request: web.Request) -> web.Response:
    """`idkit run` on the run folder; with `until: data` it pauses there so that the rows can be looked at."""
    folder, body = _run(request), await request.json()
    arguments = ["run", "--persona", str(folder / "persona.yaml"), "-o", str(folder)]
    for option, name in (("--model", "model"), ("--recipe", "recipe")):
        if body.get(name):
            arguments += [option, _word(body[name])]
    for option, name, low, high in (("--rows", "rows", 10, 1_000_000), ("--probes-per-family", "probes", 1, 1000)):
        if body.get(name):
            arguments += [option, str(_number(body[name], low, high))]
    if body.get("steps"):
        arguments += ["--set", f"max_steps={_number(body['steps'], 1, 1_000_000)}"]
    if body.get("language") in ("zh", "en", "both"):
        arguments += ["--lang", body["language"]]
    await _start_job(request, folder, arguments, stop_after="data" if body.get("until") == "data" else "")
    return web.json_response(jobs.job_state(folder))


async def _start_job(request: web.Request, folder: Path, arguments: list[str], *, stop_after: str = "") -> None:
    await asyncio.to_thread(request.app[ENGINES].forget)
    jobs.start_job(folder, ["--ui", ui.language(), *arguments], stop_after=stop_after)


def _word(value: Any) -> str:
    """A text that is an option's value, not an option."""
    text = str(value).strip()
    if text.startswith("-"):
        raise BadInput(tr("值不能以 - 开头", "a value must not begin with -"), where=text)
    return text


def _number(value: Any, low: int, high: int) -> int:
    number = int(value)
    if not low <= number <= high:
        raise BadInput(tr(f"应在 {low} 与 {high} 之间", f"must lie between {low} and {high}"), where=str(value))
    return number


async def _stop(request: web.Request) -> web.Response:
    jobs.stop_job(_run(request))
    return web.json_response({})


async def _export(request: web.Request) -> web.Response:
    folder, body = _run(request), await request.json()
    if body["format"] not in _EXPORTS:
        raise BadInput(tr("没有这种格式", "no such format"), where=str(body["format"]))
    label = body["format"]
    arguments = ["export", str(folder), "--format", body["format"]]
    if body["format"] in ("gguf", "ollama"):
        from identity_kit.export.gguf import quantisation_names
        from identity_kit.export.make import DEFAULT_QUANTISATION

        names = quantisation_names(_word(body.get("quantize") or DEFAULT_QUANTISATION))
        label += "-" + "-".join(names)
        arguments += ["--quantize", ",".join(names)]
    await _start_job(request, folder, [*arguments, "-o", str(folder / "exports" / label)])
    return web.json_response(jobs.job_state(folder))


async def _chat(request: web.Request) -> web.StreamResponse:
    """The answer as it comes: one JSON object a line, {"text"}, at the end {"finish"} or {"error"}."""
    body = await request.json()
    name = _model_name(request.app[SITE], body)
    messages = [{"role": str(m["role"]), "content": str(m["content"])} for m in body["messages"]]
    settings = Settings(max_tokens=_number(body.get("max_tokens") or 512, 1, 8192))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson; charset=utf-8"})
    await response.prepare(request)
    try:
        async with contextlib.aclosing(stream_in_thread(request.app[ENGINES], name, messages, settings)) as pieces:
            async for piece in pieces:
                line = {"text": piece.text} if piece.finish is None else {"text": piece.text, "finish": piece.finish}
                await response.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
    except IdkitError as error:
        await response.write((json.dumps({"error": str(error)}, ensure_ascii=False) + "\n").encode())
    except ConnectionResetError:
        return response
    await response.write_eof()
    return response


def _model_name(site: Site, body: dict[str, Any]) -> str:
    """The model that the page means: a run's tuned or base model, or one that the command named."""
    side = body["side"]
    if body.get("run"):
        folder = workspace.run_folder(site.root, str(body["run"]))
        return str(folder) if side == "tuned" else run_base(str(folder))
    name = site.model if side == "tuned" else site.compare
    if not name:
        raise BadInput(tr("没有这个模型", "there is no such model"), where=str(side))
    return name


def serve_page(site: Site, *, port: int = 0, host: str = "127.0.0.1", opened: Callable[[str], None]) -> None:
    """Serve the page until interrupted; `opened` is called with its address once it is up.

    Beyond loopback the address carries a key, without which nothing is served.

    Raises:
        BadInput: the port or the address cannot be used.
    """
    asyncio.run(_serve(site, port, host, opened))


async def _serve(site: Site, port: int, host: str, opened: Callable[[str], None]) -> None:
    from identity_kit.models.server import free_port

    port = port or free_port()
    key = None if host in (*LOOPBACK, "::1") else secrets.token_urlsafe(24)
    runner = web.AppRunner(
        make_app(site, port=port, host=host, key=key), access_log=None, handler_cancellation=True, shutdown_timeout=2
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise BadInput(
            tr(f"用不了 {host}:{port}：{error.strerror}", f"cannot use {host}:{port}: {error.strerror}"),
            fix=tr("换一个 --port", "choose another --port"),
        ) from None
    opened(f"http://{host}:{port}/" + (f"?key={key}" if key else ""))
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
