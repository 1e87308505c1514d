// One operation: what it takes, what it answers, who may call it.

import { el, lazyDetails, prose, table } from "./dom.js";
import { limits, renderSchema, resolve, typeText } from "./schema.js";
import { tryForm } from "./try.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/** Every operation of the document as {method, path, id, tag, summary, operation}, in its order. */
export function listOperations(spec) {
  return Object.entries(spec.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item && Object.hasOwn(item, method)).map((method) => {
      const operation = item[method];
      return {
        method: method.toUpperCase(),
        path,
        // The prefix keeps it apart from the ids of the page itself.
        id: `op-${operation.operationId ?? `${method} ${path}`}`,
        name: operation.operationId ?? "",
        tag: operation.tags?.[0] ?? "other",
        summary: operation.summary || firstSentence(operation.description),
        operation: { ...operation, parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])] },
      };
    }),
  );
}

function firstSentence(text = "") {
  return String(text).split(/(?<=\.)\s/)[0];
}

/** The operation as a section that opens; its content is made when it does. */
export function renderOperation(spec, entry, credential) {
  const { method, path, operation, summary } = entry;
  return lazyDetails(
    { class: "operation", id: entry.id, "data-words": `${method} ${path} ${entry.name} ${entry.tag} ${summary}`.toLowerCase() },
    [
      el("span", { class: `method ${method.toLowerCase()}` }, method),
      el("h3", {}, el("code", {}, breakable(path))),
      el("span", { class: "summary" }, summary, operation.deprecated ? " (deprecated)" : ""),
      needsCaller(operation) ? el("span", { class: "who" }, "needs a caller") : null,
    ],
    () =>
      el(
        "div",
        { class: "body" },
        operation.description !== summary ? prose(operation.description) : null,
        el("p", { class: "quiet small" }, "Operation ", el("a", { href: `#${encodeURIComponent(entry.id)}` }, entry.name || "link")),
        caller(spec, operation),
        parameters(spec, operation),
        requestBody(spec, operation),
        responses(spec, operation),
        tryForm(spec, entry, credential),
      ),
  );
}

/** Long paths may break after a slash. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);
}

function needsCaller(operation) {
  const kinds = operation.security ?? [];
  return kinds.length > 0 && kinds.every((kind) => Object.keys(kind).length > 0);
}

function caller(spec, operation) {
  const kinds = (operation.security ?? []).flatMap((kind) => Object.keys(kind));
  const names = [...new Set(kinds)].map((kind) => schemeText(spec.components?.securitySchemes?.[kind], kind));
  const text = names.length
    ? `${needsCaller(operation) ? "Needs" : "May have"} ${names.join(" or ")}.`
    : "Open: needs no credential.";
  return part("Caller", el("p", {}, text));
}

function schemeText(scheme, kind) {
  if (scheme?.type === "http") return `a ${scheme.scheme} token (${kind})`;
  if (scheme?.type === "apiKey") return `the ${scheme.in} ${scheme.name}`;
  if (scheme?.type === "mutualTLS") return "a client certificate";
  return kind;
}

function parameters(spec, operation) {
  if (!operation.parameters.length) return null;
  const rows = operation.parameters.map((given) => {
    const parameter = resolve(spec, given);
    return [
      el("code", {}, parameter.name),
      [parameter.in, parameter.required ? el("strong", { class: "must" }, " required") : null],
      typeText(spec, parameter.schema ?? {}),
      [prose(parameter.description), limits(spec, parameter.schema ?? {})],
    ];
  });
  return part("Parameters", table("Parameters", ["Name", "In", "Type", "Meaning"], rows));
}

function requestBody(spec, operation) {
  if (!operation.requestBody) return null;
  const body = resolve(spec, operation.requestBody);
  return part("Request body", prose(body.description), contents(spec, body.content, true));
}

/** A schema for each media type; the first is open if `isOpen`. */
function contents(spec, content = {}, isOpen = false) {
  return Object.entries(content).map(([media, { schema }], at) =>
    lazyDetails({ class: "content", open: isOpen && at === 0 }, el("code", {}, media), () => renderSchema(spec, schema ?? {})),
  );
}

function responses(spec, operation) {
  const all = Object.entries(operation.responses ?? {}).map(([status, given]) => [status, resolve(spec, given)]);
  const good = all.filter(([status]) => /^[123]/.test(status));
  const errors = all.filter(([status]) => !/^[123]/.test(status));
  return [
    part(
      "Reply",
      good.map(([status, reply]) => [el("p", {}, el("strong", {}, status), ` ${reply.description ?? ""}`), contents(spec, reply.content, true)]),
    ),
    errors.length
      ? part(
          "Errors",
          table("Errors", ["Status", "Meaning"], errors.map(([status, reply]) => [status, reply.description ?? ""])),
          contents(spec, errors[0][1].content),
        )
      : null,
  ];
}

function part(title, ...content) {
  return el("section", { class: "part" }, el("h4", {}, title), content);
}
