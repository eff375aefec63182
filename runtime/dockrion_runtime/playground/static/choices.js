// A row of alternatives: radio buttons, so that the keyboard works as everywhere.

import { make, newId } from "./dom.js";

/** Return a fieldset of `options` ({value: label}), the first of them chosen; `chosen(value)` tells of another. */
export function choices(legend, options, chosen) {
  const name = newId("choice");
  const radios = Object.entries(options).map(([value, label], index) => {
    const radio = make("input", { type: "radio", name, value, checked: index === 0 });
    radio.addEventListener("change", () => chosen(value));
    return make("label", {}, radio, make("span", {}, label));
  });
  return make("fieldset", { className: "choices", hidden: radios.length < 2 }, make("legend", {}, legend), ...radios);
}
