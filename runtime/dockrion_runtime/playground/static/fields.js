// Controls for values of a JSON Schema. Each field is {element, read, load, find}:
// `read()` returns its value, or undefined where it is left out; `find(path)` the control nearest to a path.

import { make, newId } from "./dom.js";

const DEEPEST = 5; // schemas may contain themselves
const LONG = 80;
const INPUTS = { date: "date", time: "time", email: "email", uri: "url", password: "password" };

/** A value that the server need not be asked about. */
export class Unreadable extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/** Return the field of a schema; `path` is that of its value, in names and indexes. */
export function field(schema, { root, path, required = false, name = path.at(-1) }) {
  const meant = resolved(schema, root);
  const about = { schema: meant, root, path, required, title: meant.title ?? String(name) };
  return (path.length > DEEPEST ? json : kind(meant))(about);
}

function kind(schema) {
  if (schema.enum || schema.const !== undefined) return choice;
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (type === "object" && schema.properties) return object;
  if (type === "array" && schema.items) return array;
  return { string: text, integer: number, number, boolean }[type] ?? json;
}

/** Follow `$ref` within the document; of alternatives with null take the other. */
function resolved(schema, root) {
  let found = schema;
  for (let turn = 0; turn < DEEPEST && typeof found.$ref === "string" && found.$ref.startsWith("#/"); turn += 1) {
    const target = found.$ref.slice(2).split("/").reduce((inner, name) => inner?.[unescape(name)], root);
    found = { ...target, ...found, $ref: target?.$ref };
  }
  const options = (found.anyOf ?? found.oneOf)?.filter((option) => option.type !== "null");
  return options?.length === 1 ? { ...resolved(options[0], root), ...found, anyOf: undefined } : found;
}

function unescape(name) {
  return decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~");
}

export function object({ schema, root, path, title, required }) {
  const needed = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, inner]) => [
    name,
    field(inner, { root, path: [...path, name], required: needed.has(name), name }),
  ]);
  const parts = fields.map(([, inner]) => inner.element);
  const element = path.length
    ? make("fieldset", {}, make("legend", {}, title), hint(schema), ...parts)
    : make("div", { className: "fields" }, ...parts);
  return {
    element,
    read() {
      const values = fields.map(([name, inner]) => [name, inner.read()]).filter(([, value]) => value !== undefined);
      return values.length || required || !path.length ? Object.fromEntries(values) : undefined;
    },
    load(value) {
      for (const [name, inner] of fields) inner.load(value?.[name]);
    },
    find([name, ...rest]) {
      return fields.find(([known]) => known === name)?.[1].find(rest) ?? null;
    },
  };
}

function array({ schema, root, path, title, required }) {
  const rows = make("div", { className: "rows" });
  let items = [];
  const add = (value) => {
    const inner = field(schema.items, { root, path: [...path, items.length], required: true, name: `${title} ${items.length + 1}` });
    const remove = make("button", { type: "button", className: "quiet", "aria-label": `Remove ${title} ${items.length + 1}` }, "×");
    const row = make("div", { className: "row" }, inner.element, remove);
    remove.addEventListener("click", () => {
      const kept = items.filter((item) => item !== inner).map((item) => item.read());
      load(kept);
    });
    items.push(inner);
    rows.append(row);
    if (value !== undefined) inner.load(value);
    return inner;
  };
  const load = (values) => {
    items = [];
    rows.replaceChildren();
    for (const value of Array.isArray(values) ? values : []) add(value);
  };
  const more = make("button", { type: "button", className: "quiet" }, `Add ${title}`);
  more.addEventListener("click", () => add().find([])?.control.focus());
  const element = make("fieldset", {}, make("legend", {}, title), hint(schema), rows, more);
  return {
    element,
    read: () => (items.length || required ? items.map((item) => item.read() ?? null) : undefined),
    load,
    find: ([index, ...rest]) => items[Number(index)]?.find(rest) ?? null,
  };
}

/** Return a field of one control, with its label, its hint and the place for what is wrong with it. */
function single(control, { schema, title, required, path }, { read, load }) {
  control.id = newId("field");
  control.dataset.path = path.join(".");
  const error = make("p", { className: "wrong", id: newId("wrong"), hidden: true });
  const label = make("label", { htmlFor: control.id }, title);
  if (!required) label.append(make("span", { className: "optional" }, " optional"));
  const about = hint(schema);
  if (about) about.id = newId("hint");
  control.setAttribute("aria-describedby", [about?.id, error.id].filter(Boolean).join(" "));
  if (required) control.setAttribute("aria-required", "true");
  const box = control.type === "checkbox";
  const element = make("div", { className: box ? "field check" : "field" });
  element.append(...(box ? [control, label] : [label, control]), ...(about ? [about] : []), error);
  load(schema.default);
  return { element, read, load, find: () => ({ control, error }) };
}

function hint(schema) {
  return schema.description ? make("p", { className: "hint" }, schema.description) : null;
}

function text(about) {
  const { schema, required } = about;
  const long = !schema.format && (schema.maxLength ?? Infinity) > LONG;
  const control = long
    ? make("textarea", { rows: 3 })
    : make("input", { type: INPUTS[schema.format] ?? "text", autocomplete: "off" });
  return single(control, about, {
    read: () => (control.value || required ? control.value : undefined),
    load: (value) => {
      control.value = value ?? "";
    },
  });
}

function number(about) {
  const control = make("input", { type: "number", step: "any", min: about.schema.minimum ?? "", max: about.schema.maximum ?? "" });
  return single(control, about, {
    read() {
      if (control.value !== "") return Number(control.value);
      if (control.validity.badInput || about.required) throw new Unreadable(about.path, "a number is needed here");
      return undefined;
    },
    load: (value) => {
      control.value = value ?? "";
    },
  });
}

function boolean(about) {
  const control = make("input", { type: "checkbox" });
  let touched = false;
  control.addEventListener("change", () => {
    touched = true;
  });
  return single(control, about, {
    read: () => (touched || about.required || about.schema.default !== undefined ? control.checked : undefined),
    load: (value) => {
      control.checked = value === true;
      touched = value !== undefined;
    },
  });
}

function choice(about) {
  const options = about.schema.enum ?? [about.schema.const];
  const shown = options.map((option, index) => make("option", { value: index }, String(option)));
  const control = make("select", {}, about.required ? null : make("option", { value: "" }, "—"), ...shown);
  return single(control, about, {
    read: () => (control.value === "" ? undefined : options[Number(control.value)]),
    load: (value) => {
      const index = options.indexOf(value);
      if (index >= 0) control.value = String(index);
      else control.selectedIndex = 0;
    },
  });
}

function json(about) {
  const control = make("textarea", { rows: 3, spellcheck: false, className: "code", placeholder: "JSON" });
  return single(control, about, {
    read() {
      if (!control.value.trim() && !about.required) return undefined;
      try {
        return JSON.parse(control.value);
      } catch (error) {
        throw new Unreadable(about.path, `no valid JSON: ${error.message}`);
      }
    },
    load: (value) => {
      control.value = value === undefined ? "" : JSON.stringify(value, null, 2);
    },
  });
}
