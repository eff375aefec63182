// Making elements. Text is always text: nothing here parses HTML.

/** Return an element. `properties` are set on it; `children` are nodes, texts, or null for none. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, properties, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Return an SVG element, whose properties are attributes. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
}

const MOST = 200_000; // characters that a page shows of a value without becoming slow

/** Return an element with a value as JSON; of a very large one its beginning, and how much more there is. */
export function json(value) {
  const text = JSON.stringify(value, null, 2) ?? "null";
  const rest = text.length - MOST;
  return make("pre", { tabIndex: 0 }, rest > 0 ? `${text.slice(0, MOST)}\n… ${rest} more characters` : text);
}

let names = 0;

/** Return an id that no other element has. */
export function newId(prefix) {
  names += 1;
  return `${prefix}-${names}`;
}

/** Return a function that does `work` once in the next frame, however often it is called before. */
export function eachFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
