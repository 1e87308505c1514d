// Sets GraphiQL up on the URL that this page came from: documents are sent there by POST.
// Tokens go into the tab "Headers"; they stay in memory and are never stored.

/* global React, ReactDOM, GraphiQL */

const ENDPOINT = location.pathname;
const NOTE = `# Ctrl-Space completes, Ctrl-Enter sends.
# To say who calls, write into "Headers" below:
# {"Authorization": "Bearer ..."}
`;
const FALLBACK = `${NOTE}
query {
  __typename
}
`;
// Small on purpose, so that both pass caps of depth and size.
const NAMED = `fragment Named on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name } } }
}`;
const OUTLINE = `query Outline {
  __schema { queryType { fields { name args { defaultValue type { kind } } type { ...Named } } } }
}
${NAMED}`;
const FIELDS = `query Fields($name: String!) {
  __type(name: $name) { fields { name args { defaultValue type { kind } } type { ...Named } } }
}
${NAMED}`;
const LEAVES = new Set(["SCALAR", "ENUM"]);
const MOST_FIELDS = 5;

async function ask(query, variables) {
  const answer = await fetch(ENDPOINT, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data } = await answer.json();
  return data ?? {};
}

function named(type) {
  let inner = type;
  while (inner.ofType) inner = inner.ofType;
  return inner;
}

const isOptional = (arg) => arg.type.kind !== "NON_NULL" || arg.defaultValue != null;

/** A first query that fits the schema: a field without required arguments, with some plain fields of its type. */
async function firstQuery() {
  const fields = (await ask(OUTLINE)).__schema?.queryType?.fields ?? [];
  const field = fields.find((each) => each.args.every(isOptional));
  if (!field) return FALLBACK;
  const selection = await select(named(field.type), 2);
  return `${NOTE}\nquery {\n  ${field.name}${selection}\n}\n`;
}

/** The selection set of a type: plain fields and, while `levels` last, one field with fields of its own. */
async function select(type, levels, indent = "  ") {
  if (LEAVES.has(type.kind)) return "";
  const inner = `${indent}  `;
  const fields = (await ask(FIELDS, { name: type.name })).__type?.fields ?? [];
  const simple = fields.filter((field) => field.args.every(isOptional));
  const leaves = simple.filter((field) => LEAVES.has(named(field.type).kind));
  const lines = leaves.slice(0, MOST_FIELDS).map((field) => field.name);
  const branch = simple.find((field) => named(field.type).kind === "OBJECT");
  if (branch && levels > 1) {
    lines.push(branch.name + (await select(named(branch.type), levels - 1, inner)));
  }
  if (lines.length === 0) lines.push("__typename");
  return ` {\n${lines.map((line) => inner + line).join("\n")}\n${indent}}`;
}

/**
 * localStorage without credentials: GraphiQL's history would write the header fields of every query
 * into it, whatever `shouldPersistHeaders` says.
 */
const storage = {
  get length() {
    return localStorage.length;
  },
  getItem: (key) => localStorage.getItem(key),
  setItem(key, value) {
    localStorage.setItem(key, /:(queries|favorites)$/.test(key) ? withoutHeaders(value) : value);
  },
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => localStorage.clear(),
};

function withoutHeaders(text) {
  return JSON.stringify(JSON.parse(text), (key, value) => (key === "headers" ? undefined : value));
}

const defaultQuery = await firstQuery().catch(() => FALLBACK);

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: ENDPOINT }),
    defaultQuery,
    storage,
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: false,
  }),
);
