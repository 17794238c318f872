// Which run and which tab is shown; what changes on the disk is polled, so every tab and every terminal sees the same.
import { chatView } from "./chat.js";
import { api, h, notice } from "./dom.js";
import { dataView, exportView, personaView, reportView, trainView } from "./views.js";
import { chooseLanguage, language, setLanguage, t } from "./words.js";

const TABS = ["persona", "data", "train", "report", "chat", "export"];
const main = document.getElementById("main");
let site = null, shown = null, view = null, drawing = 0;

function route() {
  const [, run, tab] = location.hash.split("/");
  const name = run ? decodeURIComponent(run) : "";
  return { run: name, tab: TABS.includes(tab) ? tab : name ? "train" : "persona" };
}

function frame() {
  const { run, tab } = route();
  document.title = t("title");
  document.getElementById("skip").textContent = t("skip");
  document.getElementById("run-label").textContent = t("run");
  const toggle = document.getElementById("language");
  toggle.textContent = t("other");
  toggle.lang = language() === "zh" ? "en" : "zh";
  const select = document.getElementById("run");
  const options = site.runs.map((one) => h("option", { value: one.name, selected: one.name === run }, one.name + (one.busy ? " ●" : "")));
  if (site.talk) options.push(h("option", { value: "\u0000talk", selected: run === "\u0000talk" }, site.talk.model));
  select.replaceChildren(...options, h("option", { value: "", selected: !run }, t("newRun")));
  const tabs = run === "\u0000talk" ? ["chat"] : run ? TABS : ["persona"];
  document.getElementById("tabs").replaceChildren(...tabs.map((name) =>
    h("a", { href: `#/${encodeURIComponent(run)}/${name}`, "aria-current": name === tab ? "page" : null }, t(name))));
}

async function draw() {
  const turn = ++drawing;
  try {
    site = await api("site");
    const { run, tab } = route();
    if (!language()) setLanguage(site.language);
    const state = run && run !== "\u0000talk" ? await api("runs/" + encodeURIComponent(run)) : null;
    if (turn !== drawing) return;
    frame();
    shown = state;
    if (run === "\u0000talk") view = site.talk ? chatView(null, { ...site.talk, talk: true }) : personaView(null, draw);
    else if (tab === "persona") view = personaView(state, draw);
    else if (tab === "data") view = dataView(state);
    else if (tab === "train") view = trainView(state, refresh);
    else if (tab === "report") view = reportView(state);
    else if (tab === "chat") view = state.merged ? chatView(state) : h("p", { className: "card" }, t("noModel"));
    else view = exportView(state, refresh);
    main.replaceChildren(h("h1", {}, t(tab)), view);
  } catch (error) { notice(error.message); }
}

async function refresh() {
  const { run, tab } = route();
  if (!shown || run !== shown.name || document.hidden) return;
  try {
    const state = await api("runs/" + encodeURIComponent(run));
    if (route().run !== run || route().tab !== tab) return;
    const changed = state.busy !== shown.busy || state.merged !== shown.merged;
    const reported = JSON.stringify(state.report) !== JSON.stringify(shown.report);
    shown = state;
    if (view.update) view.update(state);
    else if ((changed && tab !== "chat" && tab !== "data") || (reported && tab === "report")) draw();
  } catch (error) { notice(error.message); }
}

document.getElementById("run").addEventListener("change", (event) => {
  const name = event.target.value;
  location.hash = name ? `#/${encodeURIComponent(name)}/${name === "\u0000talk" ? "chat" : "train"}` : "#/";
});
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.getElementById("language").addEventListener("click", () => { chooseLanguage(language() === "zh" ? "en" : "zh"); draw(); });
window.addEventListener("hashchange", () => { notice(""); draw().then(() => main.focus({ preventScroll: true })); });
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, 2000);

if (language()) setLanguage(language());
api("site").then((value) => {
  if (!location.hash && value.talk) location.hash = "#/%00talk/chat";
  else if (!location.hash && value.runs.length) location.hash = `#/${encodeURIComponent(value.runs[0].name)}/train`;
  else draw();
}, (error) => notice(error.message));
