// Elements from plain values. Strings become text nodes, so nothing that a document says is ever markup.

/**
 * An element. Keys of `attributes` that start with "on" are listeners; false, null and undefined leave
 * one out, true writes it empty. Children are nodes, strings, numbers or (nested) lists of them.
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
}

/** `<details>` whose content is made when it is opened for the first time. */
export function lazyDetails(attributes, summary, content) {
  const made = el("details", attributes, el("summary", {}, summary));
  made.addEventListener("toggle", () => {
    if (made.open && made.childElementCount === 1) made.append(...[content()].flat(Infinity).filter(Boolean));
  });
  return made;
}

/** Descriptions keep their line breaks and nothing else. */
export function prose(text) {
  return text ? el("p", { class: "prose" }, String(text)) : null;
}

/** A table that stays a table for assistive technology when narrow screens stack its cells. */
export function table(caption, heads, rows) {
  const head = heads.map((text) => el("th", { scope: "col", role: "columnheader" }, text));
  return el(
    "table",
    { role: "table" },
    el("caption", { class: "hidden" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el(
      "tbody",
      { role: "rowgroup" },
      rows.map((cells) =>
        el(
          "tr",
          { role: "row" },
          cells.map((cell, at) =>
            at === 0
              ? el("th", { scope: "row", role: "rowheader" }, cell)
              : el("td", { role: "cell", "data-head": heads[at] }, cell),
          ),
        ),
      ),
    ),
  );
}
