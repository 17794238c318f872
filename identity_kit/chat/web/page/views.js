// The tabs: persona, data, training, report, export.
import { acting, api, field, h, notice, remembered } from "./dom.js";
import { language, t } from "./words.js";

const text = (value, side) => (typeof value === "string" ? value : value?.[side] ?? "");
const both = (zh, en) => (zh && en ? (zh === en ? zh : { zh, en }) : zh || en);

// --- persona -----------------------------------------------------------------------------------------------------------

export function personaView(state, done) {
  const fresh = !state;
  const draftKey = "persona:" + (fresh ? "" : state.name);
  const draft = remembered.get(draftKey, null);
  const persona = draft?.persona ?? (fresh ? {} : state.persona);
  const inputs = {};
  const facts = h("div");
  const unsaved = h("span", { className: "quiet", hidden: !draft }, t("draft"));

  function put(key, label, value, hint) {
    inputs[key] = h("input", { value: value ?? "", name: key, id: "p-" + key });
    return field(t(label), inputs[key], hint);
  }
  function addFact(fact = {}) {
    const row = h("div", { className: "row fact" },
      h("input", { className: "grow", placeholder: t("question"), "aria-label": t("question"), value: text(fact.question, "zh") }),
      h("input", { className: "grow", placeholder: t("answer"), "aria-label": t("answer"), value: text(fact.answer, "zh") }),
      h("button", { type: "button", onclick() { row.remove(); keep(); } }, t("remove")));
    row.fact = fact;
    facts.append(row);
  }
  const list = (value) => value.split(/[,，、]/).map((part) => part.trim()).filter(Boolean);

  function collect() {
    const v = Object.fromEntries(Object.entries(inputs).map(([key, input]) => [key, input.value.trim()]));
    const rows = [...facts.children].map((row, i) => {
      const [question, answer] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
      const old = row.fact;
      return [row.fact.key || "fact" + (i + 1), {
        question: text(old.question, "zh") === question ? old.question : question,
        answer: text(old.answer, "zh") === answer ? old.answer : answer,
      }];
    });
    return {
      ...persona,
      owner: both(v.owner, v.ownerEn), name: both(v.name, v.nameEn),
      developer: v.developer === text(persona.developer, "zh") ? persona.developer : v.developer,
      aliases: list(v.aliases),
      role: v.role === text(persona.role, "zh") ? persona.role : v.role,
      tone: v.tone === text(persona.tone, "zh") ? persona.tone : v.tone,
      handoff: v.handoff === text(persona.handoff, "zh") ? persona.handoff : v.handoff,
      base_model: { names: list(v.baseNames), vendor: v.vendor, policy: policy.value },
      languages: [zh, en].filter((box) => box.checked).map((box) => box.value),
      facts: Object.fromEntries(rows),
    };
  }
  function keep() {
    unsaved.hidden = false;
    remembered.set(draftKey, { persona: collect(), runName: runName?.value, version: draft?.version ?? state?.persona_version });
  }

  const runName = fresh ? h("input", { value: draft?.runName ?? "", id: "p-run", required: true, maxLength: 64 }) : null;
  const policy = h("select", {}, ["private", "disclose"].map((value) => h("option", { value, selected: persona.base_model?.policy === value }, t(value))));
  const spoken = persona.languages ?? ["zh", "en"];
  const zh = h("input", { type: "checkbox", value: "zh", checked: spoken.includes("zh") });
  const en = h("input", { type: "checkbox", value: "en", checked: spoken.includes("en") });
  const sameName = text(persona.name, "zh") === text(persona.name, "en"), sameOwner = text(persona.owner, "zh") === text(persona.owner, "en");

  const save = acting(async () => {
    if (fresh) {
      const made = await api("runs", { name: runName.value, persona: collect() });
      remembered.set(draftKey, null);
      location.hash = `#/${encodeURIComponent(made.name)}/train`;
    } else {
      await api(`runs/${encodeURIComponent(state.name)}/persona`, { persona: collect(), version: draft?.version ?? state.persona_version }, "PUT");
      remembered.set(draftKey, null);
      notice(t("saved"), true);
      done();
    }
  });
  const form = h("form", { className: "card", oninput: keep, onsubmit(event) { event.preventDefault(); save({ currentTarget: form.querySelector("button.main") }); } },
    fresh ? h("p", {}, t("welcome")) : null,
    h("div", { className: "grid" },
      fresh ? field(t("runName"), runName) : null,
      put("owner", "owner", text(persona.owner, "zh")), put("ownerEn", "ownerEn", sameOwner ? "" : text(persona.owner, "en")),
      put("name", "name", text(persona.name, "zh"), t("nameHint")), put("nameEn", "nameEn", sameName ? "" : text(persona.name, "en"))),
    h("details", { open: !fresh && Object.keys(persona.facts ?? {}).length > 0 }, h("summary", {}, t("more")),
      h("div", { className: "grid" },
        put("developer", "developer", text(persona.developer, "zh")), put("aliases", "aliases", (persona.aliases ?? []).join(", ")),
        put("role", "role", text(persona.role, "zh")), put("tone", "tone", text(persona.tone, "zh")), put("handoff", "handoff", text(persona.handoff, "zh")),
        put("baseNames", "baseNames", (persona.base_model?.names ?? []).join(", ")), put("vendor", "vendor", persona.base_model?.vendor),
        field(t("policy"), policy),
        h("div", { className: "field" }, h("span", {}, t("languages")), h("label", {}, zh, t("zh")), h("label", {}, en, t("en")))),
      h("h2", {}, t("facts")), facts, h("button", { type: "button", onclick() { addFact(); } }, t("addFact"))),
    h("div", { className: "row" },
      h("button", { className: "main", type: "submit", disabled: state?.busy }, t(fresh ? "create" : "save")),
      draft ? h("button", { type: "button", onclick() { remembered.set(draftKey, null); done(); } }, t("discard")) : null,
      unsaved, state?.busy ? h("span", { className: "quiet" }, t("busyNow")) : null));
  for (const [key, fact] of Object.entries(persona.facts ?? {})) addFact({ key, ...fact });
  return form;
}

// --- data --------------------------------------------------------------------------------------------------------------

export function dataView(state) {
  const page = 30;
  let offset = 0, timer = 0;
  const list = h("div"), count = h("span", { className: "quiet", role: "status" });
  const search = h("input", { type: "search", className: "grow", placeholder: t("search"), "aria-label": t("search"), oninput() { clearTimeout(timer); timer = setTimeout(() => { offset = 0; load(); }, 250); } });
  const kind = h("select", { "aria-label": t("all"), onchange() { offset = 0; load(); } }, ["", "identity", "contrast", "rehearsal", "domain"].map((value) => h("option", { value }, t(value || "all"))));
  const previous = h("button", { type: "button", onclick() { offset -= page; load(); } }, t("newer"));
  const next = h("button", { type: "button", onclick() { offset += page; load(); } }, t("older"));
  const path = `runs/${encodeURIComponent(state.name)}/rows`;

  async function load() {
    try {
      const found = await api(`${path}?q=${encodeURIComponent(search.value)}&kind=${kind.value}&offset=${offset}&limit=${page}`);
      count.textContent = `${found.total} ${t("rows")}`;
      previous.disabled = offset === 0;
      next.disabled = offset + page >= found.total;
      list.replaceChildren(...found.rows.map(show));
    } catch (error) { notice(error.message); }
  }
  function show(row) {
    const box = h("article", { className: "card" });
    const tags = [t(row.kind ?? ""), row.facet, row.language].filter(Boolean).join(" · ");
    function view() {
      box.replaceChildren(h("div", { className: "quiet" }, tags),
        ...row.messages.map((message) => h("div", { className: "turn " + message.role }, h("span", { className: "quiet" }, t("r_" + message.role) + "  "), message.content)),
        h("div", { className: "row" },
          h("button", { type: "button", disabled: state.busy, onclick: edit }, t("edit")),
          h("button", { type: "button", disabled: state.busy, onclick: acting(async () => { await api(path, { version: row.version, messages: null }); box.remove(); notice(t("rejected"), true); }) }, t("reject"))));
    }
    function edit() {
      const areas = row.messages.map((message) => h("textarea", { value: message.content, "aria-label": message.role, rows: Math.min(8, 2 + message.content.length / 60) }));
      box.replaceChildren(h("div", { className: "quiet" }, tags), ...areas, h("div", { className: "row" },
        h("button", { className: "main", type: "button", onclick: acting(async () => {
          const messages = row.messages.map((message, i) => ({ role: message.role, content: areas[i].value }));
          const saved = await api(path, { version: row.version, messages });
          Object.assign(row, { version: saved.version, messages });
          notice(t("saved"), true);
          view();
        }) }, t("save")),
        h("button", { type: "button", onclick: view }, t("cancel"))));
      areas[areas.length - 1].focus();
    }
    view();
    return box;
  }
  if (!state.rows) return h("p", { className: "card" }, t("noData"));
  load();
  return h("div", {}, h("div", { className: "row" }, search, kind, count), state.busy ? h("p", { className: "quiet" }, t("busyNow")) : null, list, h("div", { className: "row" }, previous, next));
}

// --- training ----------------------------------------------------------------------------------------------------------

export const STAGES = ["model", "data", "check", "train", "merge", "evaluate"];

export function trainView(state, refresh) {
  const chosen = remembered.get("start:" + state.name, { model: state.base || "embedded:qwen2.5-coder-0.5b" });
  const input = (key, type) => h("input", { type, min: 1, value: chosen[key] ?? "", id: "t-" + key, oninput(event) { chosen[key] = event.target.value; remembered.set("start:" + state.name, chosen); } });
  const path = "runs/" + encodeURIComponent(state.name);
  const begin = (until) => acting(async () => { await api(path + "/start", { ...chosen, until }); await refresh(); });
  const started = Object.keys(state.stages).length > 0;
  const live = h("div");
  const buttons = [
    h("button", { type: "button", onclick: begin("data") }, t("writeData")),
    h("button", { type: "button", className: "main", id: "t-start", onclick: begin() }, t(started ? "goOn" : "start")),
  ];
  const stop = h("button", { type: "button", onclick: acting(async () => { await api(path + "/stop", {}); await refresh(); }) }, t("stop"));

  function update(now) {
    const { job } = now;
    for (const button of buttons) button.disabled = now.busy || job.running;
    stop.disabled = !job.running;
    const ended = job.exit === 0 ? "ended" : job.exit == null ? "stopped" : job.exit === 130 ? "stopped" : "failed";
    const status = job.running ? "running" : now.busy ? "elsewhere" : job.command ? ended : "stopped";
    live.replaceChildren(
      h("ul", { className: "stages" }, STAGES.map((stage) => h("li", { className: stage in now.stages ? "done" : "" }, t("stage_" + stage) + (now.stages[stage] ? ` ${Math.round(now.stages[stage])} s` : "")))),
      h("p", { role: "status", className: status === "failed" ? "bad" : "" }, t(status) + (job.running ? ` · ${job.seconds} s. ` + t("keeps") : "")),
      lossCurve(now.loss),
      ...now.answers.flatMap((entry) => [h("p", { className: "quiet" }, `${t("answersAt")} ${entry.step}`), ...entry.answers.map((a) => h("div", { className: "turn" }, `${a.question}\n→ ${a.answer}`))]),
      job.tail ? h("details", { open: status === "failed" || job.running }, h("summary", {}, t("output")), h("pre", {}, (job.command ? "$ " + job.command + "\n" : "") + job.tail)) : "");
    const log = live.querySelector("pre");
    if (log) log.scrollTop = log.scrollHeight;
  }
  update(state);
  const view = h("div", {},
    h("div", { className: "card" },
      h("div", { className: "grid" }, field(t("model"), input("model", "text")), field(t("rowsWanted"), input("rows", "number")), field(t("steps"), input("steps", "number")), field(t("probes"), input("probes", "number"))),
      h("div", { className: "row" }, buttons, stop)),
    h("div", { className: "card" }, live));
  view.update = update;
  return view;
}

function lossCurve(points) {
  if (points.length < 2) return h("p", { className: "quiet" }, t("noLoss"));
  const svg = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const W = 800, H = 200, last = points[points.length - 1];
  const top = Math.max(...points.map((point) => point[1])) || 1;
  const x = (step) => W * (step - points[0][0]) / Math.max(1, last[0] - points[0][0]);
  const y = (loss) => 4 + (H - 5) * (1 - loss / top);
  let mean = 0, weight = 0;
  const smooth = points.map(([step, loss]) => { mean = 0.9 * mean + 0.1 * loss; weight = 0.9 * weight + 0.1; return [step, mean / weight]; });
  const line = (rows) => rows.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  return h("figure", {},
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${t("loss")} ${last[1].toFixed(3)}, ${t("step")} ${last[0]}`, preserveAspectRatio: "none" },
      svg("line", { class: "axis", x1: 0, y1: H - 1, x2: W, y2: H - 1 }),
      svg("polyline", { class: "raw", points: line(points) }), svg("polyline", { class: "mean", points: line(smooth) })),
    h("figcaption", { className: "quiet" }, `${t("step")} ${last[0]} · ${t("loss")} ${last[1].toFixed(3)} (${t("highest")} ${top.toFixed(2)})`));
}

// --- report ------------------------------------------------------------------------------------------------------------

export function reportView(state) {
  const card = state.report;
  if (!card) return h("p", { className: "card" }, t("noReport"));
  const cell = (condition, suite) => condition.cells.find((one) => one.suite === suite && one.language === "all");
  const suites = [...new Set(card.conditions.flatMap((condition) => condition.cells.map((one) => one.suite)))];
  const share = (one) => (one && one.total ? `${+one.passed.toFixed(1)}/${one.total} = ${Math.round(100 * one.passed / one.total)} %` : "–");
  const interval = (one) => (one && one.total ? `${Math.round(100 * one.low)}–${Math.round(100 * one.high)} %` : "");
  const rows = (list) => list.map((row) => h("article", { className: "turn" }, h("div", { className: "quiet" }, t("s_" + row.suite)), h("strong", {}, row.question),
    h("div", {}, `${t("before")}: `, h("span", { className: row.before.passed ? "good" : "bad" }, row.before.text)),
    h("div", {}, `${t("after")}: `, h("span", { className: row.after.passed ? "good" : "bad" }, row.after.text))));
  return h("div", {},
    h("div", { className: "card scroll" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("suite")), card.conditions.map((condition) => h("th", { scope: "col", className: "number" }, t("c_" + condition.label))))),
      h("tbody", {}, suites.map((suite) => h("tr", {}, h("th", { scope: "row" }, t("s_" + suite)), card.conditions.map((condition) => h("td", { className: "number" }, share(cell(condition, suite)), h("div", { className: "quiet" }, interval(cell(condition, suite)))))))))),
    card.gained.length ? h("section", { className: "card" }, h("h2", {}, t("gained")), rows(card.gained)) : null,
    card.failed.length ? h("section", { className: "card" }, h("h2", {}, t("wrong")), rows(card.failed)) : null);
}

// --- export ------------------------------------------------------------------------------------------------------------

export function exportView(state, refresh) {
  if (!state.merged) return h("p", { className: "card" }, t("noModel"));
  const format = h("select", { id: "x-format", onchange() { quantize.disabled = !["gguf", "ollama"].includes(format.value); } }, ["hf", "adapter", "gguf", "ollama"].map((value) => h("option", { value }, t("f_" + value))));
  const quantize = h("select", { disabled: true }, ["Q8_0", "F16", "Q6_K", "Q5_K_M", "Q4_K_M"].map((value) => h("option", { value }, value)));
  const button = h("button", { className: "main", type: "button", id: "x-start", onclick: acting(async () => { await api(`runs/${encodeURIComponent(state.name)}/export`, { format: format.value, quantize: quantize.value }); await refresh(); }) }, t("doExport"));
  const live = h("div");
  function update(now) {
    const { job } = now, own = job.command.includes(" export ");
    button.disabled = now.busy || job.running;
    live.replaceChildren(
      own ? h("p", { role: "status", className: !job.running && job.exit ? "bad" : "" }, t(job.running ? "running" : job.exit === 1 ? "lost" : job.exit ? "failed" : "ended") + ` · ${job.seconds} s`) : "",
      own && job.tail ? h("pre", {}, job.tail) : "",
      h("h2", {}, t("exports")),
      now.exports.length ? h("ul", {}, now.exports.map((one) => h("li", {}, h("strong", {}, t("f_" + one.format)), ` · ${(one.bytes / 2 ** 20).toFixed(0)} MiB`, h("div", { className: "quiet turn" }, one.folder)))) : h("p", { className: "quiet" }, t("none")));
  }
  update(state);
  const view = h("div", { className: "card" }, h("div", { className: "grid" }, field(t("format"), format), field(t("quantize"), quantize)), h("p", { className: "quiet" }, t("askedAgain")), h("div", { className: "row" }, button), live);
  view.update = update;
  return view;
}

export const spokenLanguage = language;
