// Sets GraphiQL up on the URL that this page came from: documents are sent there by POST.
// Tokens go into the tab "Headers"; they stay in memory and are never stored.

/* global React, ReactDOM, GraphiQL */

const ENDPOINT = location.pathname;
const NOTE = `# Ctrl-Space completes, Ctrl-Enter sends. A route that asks for a caller wants
# {"Authorization": "Bearer ..."} in the tab "Headers" below.
`;
const FALLBACK = `${NOTE}
query {
  __typename
}
`;
// Small on purpose, so that it passes caps of depth and size.
const OUTLINE = `query Outline {
  __schema {
    queryType {
      fields {
        name
        args { name defaultValue type { kind } }
        type { ...Named }
      }
    }
  }
}
fragment Named on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;
const FIELDS = `query Fields($name: String!) {
  __type(name: $name) {
    fields { name args { type { kind } } type { kind name ofType { kind name } } }
  }
}`;
const LEAVES = new Set(["SCALAR", "ENUM"]);
const MOST_FIELDS = 6;

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

/** The selection set of a type, `levels` deep; nothing for a leaf. */
async function select(type, levels, indent = "  ") {
  if (LEAVES.has(type.kind)) return "";
  const fields = (await ask(FIELDS, { name: type.name })).__type?.fields ?? [];
  const plain = fields.filter((field) => field.args.length === 0);
  const lines = plain.filter((field) => LEAVES.has(named(field.type).kind)).map((field) => field.name);
  if (lines.length === 0 && levels > 1) {
    const inner = plain.find((field) => named(field.type).kind === "OBJECT");
    if (inner) lines.push(inner.name + (await select(named(inner.type), levels - 1, `${indent}  `)));
  }
  if (lines.length === 0) lines.push("__typename");
  return ` {\n${lines.slice(0, MOST_FIELDS).map((line) => `${indent}  ${line}`).join("\n")}\n${indent}}`;
}

const defaultQuery = await firstQuery().catch(() => FALLBACK);

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: ENDPOINT }),
    defaultQuery,
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: false,
  }),
);
