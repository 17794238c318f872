// Building the page: every text goes in as text, so that what a model says can never become markup.

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "role") element[key] = value;
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

export function field(label, input, hint) {
  return h("label", { className: "field" }, h("span", {}, label), input, hint ? h("span", { className: "quiet" }, hint) : null);
}

export function notice(text, fine = false) {
  const box = document.getElementById("notice");
  box.hidden = !text;
  box.textContent = text || "";
  box.className = fine ? "fine" : "";
  if (fine) setTimeout(() => { if (box.textContent === text) notice(""); }, 4000);
}

export async function api(path, body, method) {
  let response;
  try {
    response = await fetch("/api/" + path, body === undefined ? {} : {
      method: method || "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("idkit web ✗");
  }
  const value = await response.json();
  if (!response.ok) throw new Error(value.error || response.statusText);
  return value;
}

// A click handler that shows what went wrong and keeps the button from being pressed twice.
export function acting(work) {
  return async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try { notice(""); await work(event); } catch (error) { notice(error.message); } finally { button.disabled = false; }
  };
}

export const remembered = {
  get(key, otherwise) {
    try { return JSON.parse(localStorage.getItem("idkit:" + key)) ?? otherwise; } catch { return otherwise; }
  },
  set(key, value) {
    try { value == null ? localStorage.removeItem("idkit:" + key) : localStorage.setItem("idkit:" + key, JSON.stringify(value)); } catch { /* private mode */ }
  },
};
