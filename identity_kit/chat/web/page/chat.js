// Talking to the tuned model and its base, side by side; the talk is kept in this browser.
import { acting, field, h, notice, remembered } from "./dom.js";
import { t } from "./words.js";

export function chatView(state, target) {
  const own = target || { run: state.name };
  const canCompare = target ? Boolean(target.compare) : Boolean(state.base);
  const key = "talk:" + (own.run || own.model);
  const talk = remembered.get(key, { system: "", compare: canCompare, turns: [] });
  const sides = () => (talk.compare && canCompare ? ["base", "tuned"] : ["tuned"]);
  const list = h("div", { "aria-live": "polite" });
  let stopper = null;

  function keep() { remembered.set(key, { ...talk, turns: talk.turns.slice(-40) }); }

  function draw() {
    list.replaceChildren(...talk.turns.map((turn) => exchange(turn)));
  }

  function exchange(turn) {
    return h("div", { className: "exchange" },
      h("div", { className: "bubble user" }, turn.user),
      h("div", { className: "talk" }, Object.keys(turn.answers).map((side) =>
        h("section", {}, h("div", { className: "who" }, t(side)), h("div", { className: "bubble " + side }, turn.answers[side])))));
  }

  function messagesFor(side) {
    const messages = talk.system ? [{ role: "system", content: talk.system }] : [];
    for (const turn of talk.turns) {
      messages.push({ role: "user", content: turn.user });
      if (turn.answers[side]) messages.push({ role: "assistant", content: turn.answers[side] });
    }
    return messages;
  }

  async function answer(side, turn, box, signal) {
    const response = await fetch("/api/chat", {
      method: "POST", signal, headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...own, side, messages: messagesFor(side) }),
    });
    if (!response.ok) throw new Error((await response.json()).error);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const piece = JSON.parse(line);
        if (piece.error) throw new Error(piece.error);
        text += piece.text + (piece.finish === "length" ? t("cut") : "");
      }
      turn.answers[side] = text;
      box.textContent = text;
      box.scrollIntoView({ block: "nearest" });
    }
  }

  async function send() {
    const text = input.value.trim();
    if (!text || stopper) return;
    notice("");
    input.value = "";
    const turn = { user: text, answers: Object.fromEntries(sides().map((side) => [side, ""])) };
    talk.turns.push(turn);
    draw();
    stopper = new AbortController();
    sendButton.disabled = true;
    stopButton.disabled = false;
    const boxes = list.lastElementChild.querySelectorAll("section .bubble");
    boxes.forEach((box) => { box.textContent = t("loading"); });
    try {
      await Promise.all(sides().map((side, i) => answer(side, turn, boxes[i], stopper.signal)));
    } catch (error) {
      if (error.name !== "AbortError") notice(error.message);
    }
    if (!Object.values(turn.answers).some(Boolean)) { talk.turns.pop(); input.value = text; }
    stopper = null;
    sendButton.disabled = false;
    stopButton.disabled = true;
    keep();
    draw();
    input.focus();
  }

  const input = h("textarea", {
    rows: 2, placeholder: t("say"), "aria-label": t("say"), id: "say",
    onkeydown(event) {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
      if (event.key === "Escape" && stopper) stopper.abort();
    },
  });
  const sendButton = h("button", { className: "main", type: "button", onclick: send }, t("send"));
  const stopButton = h("button", { type: "button", disabled: true, onclick: () => stopper?.abort() }, t("stop"));

  function download() {
    const lines = sides().map((side) => JSON.stringify({ messages: messagesFor(side), meta: { source: "chat", model: side } }));
    const link = h("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" })), download: "talk.jsonl" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  draw();
  return h("div", {},
    h("div", { className: "row" },
      canCompare ? h("label", {}, h("input", { type: "checkbox", checked: talk.compare, onchange(event) { talk.compare = event.target.checked; keep(); } }), t("compare")) : null,
      h("button", { type: "button", onclick() { talk.turns = []; keep(); draw(); input.focus(); } }, t("reset")),
      h("button", { type: "button", onclick: acting(download) }, t("download"))),
    field(t("system"), h("input", { value: talk.system, oninput(event) { talk.system = event.target.value; keep(); } })),
    list,
    h("div", { className: "compose" }, input, h("div", { className: "row" }, sendButton, stopButton)));
}
