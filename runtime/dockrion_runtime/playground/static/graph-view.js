// <graph-view>: the agent's graph. Its nodes light up as they run.

import { draw, make } from "./dom.js";
import { layout } from "./layout.js";

const HEIGHT = 34;
const MARK = 12; // the beginning and the end
const LEAST = 0.68; // how small it may get before it is scrolled
const FONT = "500 13px system-ui, sans-serif";

class GraphView extends HTMLElement {
  #nodes = new Map(); // id → {shape, count, node}
  #svg = null;

  /** Draw a graph as the server tells of it. */
  draw({ nodes, edges }) {
    const widths = measure();
    const known = new Set(nodes.map((node) => node.id));
    const sized = nodes.map((node) => {
      const mark = node.kind !== "node";
      return { ...node, width: mark ? MARK : Math.max(64, widths(node.name) + 40), height: mark ? MARK : HEIGHT };
    });
    const plan = layout(sized, edges.filter((edge) => known.has(edge.source) && known.has(edge.target)));
    const svg = draw("svg", { viewBox: `0 0 ${plan.width} ${plan.height}`, role: "img" });
    svg.style.width = `${plan.width}px`;
    svg.style.minWidth = `${plan.width * LEAST}px`;
    svg.append(draw("defs", {}, arrow()));
    for (const group of plan.groups) svg.append(this.#group(group));
    for (const way of plan.routes) svg.append(edgeElement(way));
    for (const group of plan.groups) svg.append(groupName(group)); // over the edges, which may cross it
    for (const node of sized) svg.append(this.#node(node, plan.boxes.get(node.id)));
    this.#svg = svg;
    const box = make("div", { className: "drawing", tabIndex: 0, role: "group", "aria-label": "Drawing" }, svg);
    this.replaceChildren(box);
    this.show(null);
  }

  /** Say why there is no drawing. */
  lack(why) {
    this.replaceChildren(make("p", { className: "empty" }, why));
  }

  show(moment) {
    if (!this.#svg) return;
    const told = [];
    for (const [id, { shape, count, node }] of this.#nodes) {
      const state = stateOf(node, moment, id);
      shape.setAttribute("class", `${shape.dataset.kind} ${state.name}`);
      if (count) count.textContent = state.times > 1 ? `×${state.times}` : "";
      if (state.name !== "idle" && node?.kind === "node") told.push(`${id.replaceAll(":", " ")} ${state.name}`);
    }
    const label = `The agent's graph${told.length ? `: ${told.join(", ")}` : ", nothing has run"}`;
    if (this.#svg.getAttribute("aria-label") !== label) this.#svg.setAttribute("aria-label", label);
  }

  #group({ id, x, y, width, height }) {
    const shape = draw("g", { "data-kind": "group", "data-node": id }, draw("rect", { x, y, width, height, rx: 12 }));
    this.#nodes.set(id, { shape, count: null, node: null });
    return shape;
  }

  #node(node, { x, y, width, height }) {
    const corner = { x: x - width / 2, y: y - height / 2 };
    const shape = draw("g", { "data-kind": node.kind, "data-node": node.id });
    if (node.kind !== "node") {
      shape.append(draw("circle", { cx: x, cy: y, r: MARK / 2 - 1 }));
      this.#nodes.set(node.id, { shape, count: null, node });
      return shape;
    }
    const name = draw("text", { x, y: y + 4.5, "text-anchor": "middle" });
    name.textContent = node.name;
    const count = draw("text", { x: x + width / 2 - 4, y: corner.y - 4, "text-anchor": "end", class: "count" });
    shape.append(draw("rect", { ...corner, width, height, rx: 9 }), name, count);
    this.#nodes.set(node.id, { shape, count, node });
    return shape;
  }
}

function stateOf(node, moment, id) {
  if (!moment) return { name: "idle", times: 0 };
  const { state, count } = moment;
  const around = state.nodes.get(id.slice(0, Math.max(0, id.lastIndexOf(":"))));
  if (node?.kind === "start") return { name: (id.includes(":") ? around : count) ? "done" : "idle", times: 0 };
  if (node?.kind === "end") {
    const ended = id.includes(":") ? around?.done : state.terminal?.type === "complete";
    return { name: ended ? "done" : "idle", times: 0 };
  }
  const seen = state.nodes.get(id);
  if (!seen) return { name: "idle", times: 0 };
  const name = seen.running ? "running" : seen.failed ? "failed" : seen.done ? "done" : "cut";
  return { name, times: seen.done };
}

function groupName({ id, x, y }) {
  return draw("text", { x: x + 12, y: y + 19, class: "name" }, id.slice(id.lastIndexOf(":") + 1));
}

function edgeElement({ edge, points, back }) {
  const path = draw("path", { d: back ? around(points) : curve(points), "marker-end": "url(#arrow)" });
  return draw("g", { class: edge.conditional ? "edge conditional" : "edge" }, path);
}

function curve(points) {
  const parts = [`M${points[0].join(" ")}`];
  for (let index = 1; index < points.length; index += 1) {
    const [[x1, y1], [x2, y2]] = [points[index - 1], points[index]];
    const half = (y1 + y2) / 2;
    parts.push(`C${x1} ${half} ${x2} ${half} ${x2} ${y2 - (index === points.length - 1 ? 3 : 0)}`);
  }
  return parts.join("");
}

function around([[x1, y1], [out], [x2, y2]]) {
  if (y1 === y2) return `M${x1} ${y1 + 6}C${out} ${y1 + 16} ${out} ${y1 - 16} ${x2 + 3} ${y2 - 6}`;
  const turn = Math.min(28, (y1 - y2) / 2);
  return `M${x1} ${y1}C${out} ${y1} ${out} ${y1} ${out} ${y1 - turn}V${y2 + turn}C${out} ${y2} ${out} ${y2} ${x2 + 3} ${y2}`;
}

function arrow() {
  const shape = draw("path", { d: "M0 0L7 3.5L0 7z" });
  return draw("marker", { id: "arrow", viewBox: "0 0 7 7", refX: 5, refY: 3.5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, shape);
}

function measure() {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = FONT;
  return (text) => pen.measureText(text).width;
}

customElements.define("graph-view", GraphView);
