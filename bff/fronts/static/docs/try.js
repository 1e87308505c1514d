// The form that sends one request, and what came back.

import { el, table } from "./dom.js";
import { resolve, sampleOf } from "./schema.js";

// More is not shown: a stream may have no end.
const MOST_SHOWN_BYTES = 256 * 1024;
let made = 0;

/** `credential()` gives the header fields that say who calls. */
export function tryForm(spec, entry, credential) {
  const { operation, method } = entry;
  made += 1;
  const prefix = `try-${made}`;
  const parameters = operation.parameters.map((given) => resolve(spec, given)).filter((each) => each.in !== "cookie");
  const fields = parameters.map((parameter, at) => parameterField(spec, parameter, `${prefix}-${at}`));
  const body = bodyField(spec, operation, method, `${prefix}-body`);
  const accept = acceptField(spec, operation, `${prefix}-accept`);
  const send = el("button", { type: "submit" }, "Send");
  const stop = el("button", { type: "button", class: "second", hidden: true }, "Stop");
  const state = el("p", { role: "status", class: "state" });
  const shown = el("div", { class: "reply" });
  const form = el(
    "form",
    { class: "try", autocomplete: "off" },
    fields.map((field) => field.node),
    body?.node,
    accept?.node,
    el("p", { class: "buttons" }, send, stop),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const ask = request(entry, fields, body, accept, credential());
    const cut = new AbortController();
    stop.onclick = () => cut.abort();
    stop.hidden = false;
    send.disabled = true;
    shown.replaceChildren();
    state.textContent = "Waiting …";
    try {
      await perform(ask, cut, state, shown);
    } finally {
      send.disabled = false;
      stop.hidden = true;
    }
  });
  return el("section", { class: "part" }, el("h4", {}, "Try it"), form, state, shown);
}

function labelled(id, label, note, control) {
  control.id = id;
  return el("div", { class: "field" }, el("label", { for: id }, el("code", {}, label), note ? ` ${note}` : null), control);
}

function parameterField(spec, parameter, id) {
  const schema = resolve(spec, parameter.schema ?? {});
  const isList = [schema.type ?? []].flat().includes("array");
  const values = [schema.type ?? []].flat().includes("boolean") ? [true, false] : schema.enum;
  const control = isList
    ? el("textarea", { rows: 2, spellcheck: "false" })
    : values
      ? el("select", {}, el("option", { value: "" }, "(not sent)"), values.map((each) => el("option", {}, String(each))))
      : el("input", { type: "text", spellcheck: "false" });
  if (parameter.required) control.required = true;
  const note = [parameter.in, parameter.required ? "required" : "", isList ? "one a line" : ""].filter(Boolean).join(", ");
  return {
    parameter,
    node: labelled(id, parameter.name, `(${note})`, control),
    texts: () => (isList ? control.value.split("\n") : [control.value]).filter((text) => text !== ""),
  };
}

function bodyField(spec, operation, method, id) {
  if (!operation.requestBody || method === "GET" || method === "HEAD") return null;
  const content = resolve(spec, operation.requestBody).content ?? {};
  const media = Object.keys(content).find((each) => each.includes("json")) ?? Object.keys(content)[0] ?? "application/json";
  const sample = media.includes("json") ? JSON.stringify(sampleOf(spec, content[media]?.schema ?? {}), null, 2) : "";
  const control = el("textarea", { rows: Math.min(16, sample.split("\n").length + 1), spellcheck: "false", class: "code" });
  control.value = sample;
  return { media: media === "*/*" ? "application/octet-stream" : media, node: labelled(id, "body", `(${media})`, control), text: () => control.value };
}

function acceptField(spec, operation, id) {
  const good = Object.entries(operation.responses ?? {}).filter(([status]) => /^2/.test(status));
  const medias = good.flatMap(([, reply]) => Object.keys(resolve(spec, reply).content ?? {}));
  if (medias.length < 2) return null;
  const control = el("select", {}, medias.map((media) => el("option", {}, media)));
  return { node: labelled(id, "Accept", "(form of the reply)", control), text: () => control.value };
}

/** What fetch is given: the address with its parameters, and the rest. */
function request(entry, fields, body, accept, credential) {
  let path = entry.path;
  const query = new URLSearchParams();
  const headers = new Headers(credential);
  for (const { parameter, texts } of fields) {
    for (const text of texts()) {
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, () => segment(parameter, text));
      else if (parameter.in === "query") query.append(parameter.name, text);
      else headers.append(parameter.name, text);
    }
  }
  if (body) headers.set("content-type", body.media);
  if (accept) headers.set("accept", accept.text());
  const tail = query.size ? `?${query}` : "";
  return [path + tail, { method: entry.method, headers, body: body?.text(), credentials: "same-origin", cache: "no-store" }];
}

function segment(parameter, text) {
  if (!parameter["x-bff-multi-segment"]) return encodeURIComponent(text);
  return text.split("/").map(encodeURIComponent).join("/");
}

async function perform([url, options], cut, state, shown) {
  const started = performance.now();
  try {
    const reply = await fetch(url, { ...options, signal: cut.signal });
    const ms = () => `${Math.round(performance.now() - started)} ms`;
    const line = `${reply.status} ${reply.statusText}`.trim();
    state.textContent = `${line}, ${ms()}`;
    shown.append(el("p", { class: "sent" }, el("code", {}, `${options.method} ${url}`)));
    shown.append(headerTable(reply.headers));
    const size = await showBody(reply, cut, shown);
    state.textContent = `${line}, ${ms()}, ${size} bytes`;
  } catch (error) {
    state.textContent = error.name === "AbortError" ? "Stopped." : `No reply: ${error.message}`;
  }
}

function headerTable(headers) {
  const rows = [...headers].map(([name, value]) => [el("code", {}, name), el("span", { class: "value" }, value)]);
  return el("details", {}, el("summary", {}, `Header fields (${rows.length})`), table("Header fields", ["Name", "Value"], rows));
}

/** Show the body as it comes, JSON in lines at its end; returns the bytes read. */
async function showBody(reply, cut, shown) {
  const media = reply.headers.get("content-type") ?? "";
  if (!/json|text|xml|javascript/.test(media)) return showBinary(reply, media, shown);
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": "Body of the reply" });
  shown.append(pre);
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  const reader = reply.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    text += decoder.decode(part.value, { stream: true });
    pre.textContent = text;
    if (size >= MOST_SHOWN_BYTES) {
      cut.abort();
      pre.textContent = `${text}\n… cut at ${size} bytes`;
      return size;
    }
  }
  text += decoder.decode();
  pre.textContent = media.includes("json") && !media.includes("ndjson") ? pretty(text) : text;
  return size;
}

async function showBinary(reply, media, shown) {
  const blob = await reply.blob();
  if (blob.size === 0) return 0;
  const link = el("a", { href: URL.createObjectURL(blob), download: "reply" }, `Save ${blob.size} bytes`);
  shown.append(el("p", {}, link, ` of ${media || "unknown type"}`));
  return blob.size;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
