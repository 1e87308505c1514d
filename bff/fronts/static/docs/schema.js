// JSON Schema 2020-12 as people read it, and as an example to start from.

import { el, lazyDetails, prose } from "./dom.js";

const MOST_HOPS = 20;
const SAMPLE_DEPTH = 4;
const SAMPLES = {
  "date-time": "2026-01-31T12:00:00Z",
  date: "2026-01-31",
  int64: "0",
  uint64: "0",
};

/** What a local reference names, with the words beside `$ref` over it; {} for one that leads nowhere. */
export function resolve(spec, schema) {
  let found = schema;
  const said = {};
  for (let hop = 0; found && typeof found === "object" && "$ref" in found; hop += 1) {
    if (hop === MOST_HOPS) return said;
    for (const [key, value] of Object.entries(found)) if (key !== "$ref" && !(key in said)) said[key] = value;
    found = pointed(spec, found.$ref);
  }
  return { ...(found ?? {}), ...said };
}

function pointed(spec, reference) {
  if (typeof reference !== "string" || !reference.startsWith("#/")) return undefined;
  const keys = reference.slice(2).split("/").map((key) => unescapeKey(key));
  return keys.reduce((at, key) => (at != null && Object.hasOwn(at, key) ? at[key] : undefined), spec);
}

function unescapeKey(key) {
  const plain = key.replaceAll("~1", "/").replaceAll("~0", "~");
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}

/** "sample.orders.v1.Order-Input" -> "Order"; "" where there is no reference. */
function shortName(schema) {
  if (typeof schema?.$ref !== "string") return "";
  const full = unescapeKey(schema.$ref.split("/").pop());
  return full.replace(/-Input$/, "").split(".").pop();
}

/** A type in a few words: "string (int64)", "list of Order", "map of string". */
export function typeText(spec, schema) {
  const name = shortName(schema);
  const plain = resolve(spec, schema);
  if (plain.const !== undefined) return JSON.stringify(plain.const);
  const types = [plain.type ?? []].flat();
  if (types.includes("array")) return `list of ${typeText(spec, plain.items ?? {})}`;
  const values = mapValues(plain);
  if (values) return `map of ${typeText(spec, values)}`;
  if (name) return name;
  if (!types.length) return plain.properties ? "object" : plain.oneOf || plain.anyOf ? "one of several" : "any";
  const detail = plain.format ?? (plain.contentEncoding ? `as ${plain.contentEncoding}` : "");
  return types.join(" or ") + (detail ? ` (${detail})` : "");
}

function mapValues(schema) {
  const values = schema.additionalProperties;
  return values && typeof values === "object" && !schema.properties ? values : null;
}

const LIMITS = ["pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default"];

/** Bounds and default in words, with the enum's values; null if there are none. */
export function limits(spec, schema) {
  const plain = resolve(spec, schema);
  const inner = plain.items ? resolve(spec, plain.items) : plain;
  const parts = LIMITS.filter((key) => plain[key] !== undefined).map((key) => `${key} ${JSON.stringify(plain[key])}`);
  const values = inner.enum?.map((value) => el("code", {}, typeof value === "string" ? value : JSON.stringify(value)));
  if (!parts.length && !values) return null;
  return el(
    "p",
    { class: "limits" },
    parts.join(", "),
    values ? [parts.length ? "; one of " : "One of ", values.flatMap((value, at) => (at ? [", ", value] : [value]))] : null,
  );
}

/** The whole schema: a line for a plain type, a list of properties for an object, opened step by step. */
export function renderSchema(spec, schema) {
  const inner = unwrapped(spec, schema);
  const list = properties(spec, inner);
  const plain = resolve(spec, schema);
  return el(
    "div",
    { class: "schema" },
    el("p", { class: "type" }, typeText(spec, schema)),
    prose(plain.description),
    list ?? [limits(spec, schema), variants(spec, inner)],
  );
}

/** The object inside lists and maps. */
function unwrapped(spec, schema) {
  let plain = resolve(spec, schema);
  for (let hop = 0; hop < MOST_HOPS; hop += 1) {
    const next = [plain.type ?? []].flat().includes("array") ? plain.items : mapValues(plain);
    if (!next) break;
    plain = resolve(spec, next);
  }
  return plain;
}

function properties(spec, plain) {
  const merged = [plain, ...(plain.allOf ?? []).map((part) => resolve(spec, part))];
  const entries = merged.flatMap((part) => Object.entries(part.properties ?? {}));
  if (!entries.length) return null;
  const required = new Set(merged.flatMap((part) => part.required ?? []));
  const notes = (plain.allOf ?? []).map((part) => resolve(spec, part)).filter((part) => !part.properties);
  return [
    el(
      "ul",
      { class: "properties" },
      entries.map(([name, schema]) => property(spec, name, schema, required.has(name))),
    ),
    notes.map((note) => prose(note.description)),
    variants(spec, plain),
  ];
}

function property(spec, name, schema, isRequired) {
  const plain = resolve(spec, schema);
  const inner = unwrapped(spec, schema);
  const opens = inner.properties || inner.allOf || inner.oneOf || inner.anyOf;
  const line = [
    el("code", { class: "name" }, name),
    " ",
    el("span", { class: "type" }, typeText(spec, schema)),
    isRequired ? el("strong", { class: "must" }, " required") : null,
    plain.deprecated ? el("em", {}, " deprecated") : null,
  ];
  if (!opens) return el("li", {}, el("div", {}, line), prose(plain.description), limits(spec, schema));
  const said = plain.description ? el("span", { class: "prose" }, String(plain.description)) : null;
  // Made when opened, so a type that holds itself ends where the reader stops.
  return el("li", {}, lazyDetails({}, [line, said], () => properties(spec, inner) ?? variants(spec, inner)));
}

function variants(spec, plain) {
  const list = plain.oneOf ?? plain.anyOf;
  if (!Array.isArray(list)) return [];
  const shown = list.map((each) => variant(spec, each)).filter(Boolean);
  return shown.length ? [el("p", { class: "limits" }, "One of:"), el("ul", { class: "properties" }, shown)] : [];
}

function variant(spec, schema) {
  const plain = resolve(spec, schema);
  if (plain.properties || plain.oneOf || plain.anyOf) {
    const name = plain.title ?? typeText(spec, schema);
    return el("li", {}, lazyDetails({}, el("span", { class: "type" }, name), () => renderSchema(spec, plain)));
  }
  if (plain.required?.length) return el("li", {}, "with ", el("code", {}, plain.required.join(", ")));
  return plain.not ? null : el("li", {}, el("span", { class: "type" }, typeText(spec, schema)), prose(plain.description));
}

/** A value that fits the schema as far as can be told: every property, lists of one, cut where a type holds itself. */
export function sampleOf(spec, schema, depth = 0) {
  const plain = resolve(spec, schema);
  for (const known of [plain.example, plain.examples?.[0], plain.default, plain.const]) {
    if (known !== undefined) return known;
  }
  if (Array.isArray(plain.enum)) return plain.enum.find((each) => !/_UNSPECIFIED$/.test(each)) ?? plain.enum[0];
  const type = [plain.type ?? (plain.properties ? "object" : [])].flat()[0];
  if (type === "array") return depth < SAMPLE_DEPTH ? [sampleOf(spec, plain.items ?? {}, depth + 1)] : [];
  if (type === "object") return depth < SAMPLE_DEPTH ? sampleObject(spec, plain, depth) : {};
  if (type === "boolean") return false;
  if (type === "integer" || type === "number") return Math.max(0, plain.minimum ?? 0);
  if (type === "string") return SAMPLES[plain.format] ?? "";
  return plain.oneOf ? sampleOf(spec, plain.oneOf[0], depth + 1) : {};
}

function sampleObject(spec, plain, depth) {
  const left = leftOut(plain);
  const entries = Object.entries(plain.properties ?? {}).filter(([name]) => !left.has(name));
  return Object.fromEntries(entries.map(([name, schema]) => [name, sampleOf(spec, schema, depth + 1)]));
}

/** Where at most one of several may be given, all but the first. */
function leftOut(plain) {
  const groups = (plain.allOf ?? []).map((part) => (part.oneOf ?? []).flatMap((each) => each.required ?? []));
  return new Set(groups.flatMap((names) => names.slice(1)));
}
