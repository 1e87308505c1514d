// The page: reads the OpenAPI document that <meta name="openapi"> names and lists its operations by group.

import { el, prose } from "./dom.js";
import { listOperations, renderOperation } from "./operation.js";

const byId = (id) => document.getElementById(id);
const source = document.querySelector('meta[name="openapi"]').content;

/** Header fields for the credential in the form; none if it is empty. */
function credential() {
  const text = byId("credential").value.trim();
  if (!text) return {};
  return byId("credential-kind").value === "key" ? { "x-api-key": text } : { authorization: `Bearer ${text}` };
}

async function load() {
  const reply = await fetch(source, { headers: { accept: "application/json" }, credentials: "same-origin" });
  if (!reply.ok) throw new Error(`${source} answered ${reply.status}`);
  return reply.json();
}

function show(spec) {
  const title = spec.info?.title ?? "API";
  document.title = `${title} – API`;
  byId("title").textContent = title;
  byId("about").replaceChildren(
    `Version ${spec.info?.version ?? "unknown"} · `,
    el("a", { href: source }, "OpenAPI document"),
  );
  if (spec.info?.description) byId("about").after(prose(spec.info.description));
  const groups = Map.groupBy ? Map.groupBy(listOperations(spec), (entry) => entry.tag) : grouped(listOperations(spec));
  const sections = [...groups].map(([tag, entries], at) => section(spec, tag, entries, at));
  byId("contents").replaceChildren(...[...groups].map(([tag, entries], at) => contents(tag, entries, at)));
  byId("operations").append(...sections);
}

function grouped(entries) {
  const groups = new Map();
  for (const entry of entries) groups.set(entry.tag, [...(groups.get(entry.tag) ?? []), entry]);
  return groups;
}

function section(spec, tag, entries, at) {
  return el(
    "section",
    { class: "group", "aria-labelledby": `group-${at}` },
    el("h2", { id: `group-${at}` }, tag),
    entries.map((entry) => renderOperation(spec, entry, credential)),
  );
}

function contents(tag, entries, at) {
  return el(
    "div",
    { class: "contents" },
    el("a", { class: "tag", href: `#group-${at}` }, tag),
    el(
      "ul",
      {},
      entries.map((entry) =>
        el(
          "li",
          { "data-for": entry.id },
          el("a", { href: `#${encodeURIComponent(entry.id)}` }, el("span", { class: "verb" }, entry.method), " ", entry.path),
        ),
      ),
    ),
  );
}

/** Hide what does not hold every word; say how many are left. */
function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  const kept = new Set();
  for (const operation of document.querySelectorAll(".operation")) {
    const fits = words.every((word) => operation.dataset.words.includes(word));
    operation.hidden = !fits;
    if (fits) kept.add(operation.id);
    left += fits ? 1 : 0;
  }
  for (const item of document.querySelectorAll("#contents li")) item.hidden = !kept.has(item.dataset.for);
  for (const group of document.querySelectorAll(".group, .contents")) {
    group.hidden = !group.querySelector(".operation:not([hidden]), li:not([hidden])");
  }
  byId("state").textContent = count(left);
}

function count(operations) {
  return operations === 1 ? "1 operation" : `${operations} operations`;
}

/** Open the operation that the address names. */
function follow() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    return;
  }
  const target = byId(name);
  if (!target?.classList.contains("operation")) return;
  target.open = true;
  target.scrollIntoView();
  target.querySelector("summary").focus({ preventScroll: true });
}

byId("settings").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", filter);
window.addEventListener("hashchange", follow);

try {
  show(await load());
  filter();
  follow();
} catch (error) {
  byId("state").classList.add("alert");
  byId("state").textContent = `The document cannot be shown: ${error.message}`;
}
