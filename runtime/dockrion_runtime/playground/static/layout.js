// A layered layout: nodes in rows, edges downwards, subgraphs as boxes around their nodes. No DOM here.
//
// The steps are the usual ones: turn the edges that close a cycle, rank by the longest path, put a point on
// every row that an edge crosses, order the rows by the mean of their neighbours, then give coordinates.

const GAP = 26; // between neighbours in a row
const RISE = 44; // between rows
const PAD = { top: 30, side: 14, bottom: 14 }; // within the box of a subgraph
const ROUND = 22; // how far from the nodes that it passes an edge goes back up
const SWEEPS = 8;

/**
 * Lay out `nodes` ({id, kind, width, height}) and `edges` ({source, target}).
 *
 * Returns {width, height, boxes: Map(id → {x, y, width, height}), groups: [{id, x, y, width, height}],
 * routes: [{edge, points, back}]}. x and y are the middle of a node, and the left upper corner of a group. A
 * route that goes back has three points, and rises at the x of the second.
 */
export function layout(nodes, edges) {
  const parts = tree(nodes);
  const boxes = new Map();
  const groups = [];
  const bends = new Map();
  const { width, height } = arrange("", parts, edges, bends);
  position("", 0, 0, parts, boxes, groups, bends);
  const routes = edges.map((edge) => route(edge, boxes, bends.get(edge)));
  return { width, height, boxes, groups, routes };
}

/** Return for each group what is directly in it: {id, width, height}, a node or a group. */
function tree(nodes) {
  const parts = new Map([["", []]]);
  const open = (group) => {
    if (parts.has(group)) return;
    const around = parent(group);
    open(around);
    parts.set(group, []);
    parts.get(around).push({ id: group, group: true });
  };
  for (const node of nodes) {
    open(parent(node.id));
    parts.get(parent(node.id)).push({ ...node, group: false });
  }
  return parts;
}

function parent(id) {
  return id.slice(0, Math.max(0, id.lastIndexOf(":")));
}

/** Return which part of a group a node is in, or is; null where it is outside. */
function partOf(group, id) {
  if (group && !id.startsWith(`${group}:`)) return null;
  const rest = group ? id.slice(group.length + 1) : id;
  const colon = rest.indexOf(":");
  const first = colon < 0 ? rest : rest.slice(0, colon);
  return group ? `${group}:${first}` : first;
}

/** Give the parts of a group places within it, the innermost first; return its size. */
function arrange(group, parts, edges, bends) {
  const own = parts.get(group);
  for (const part of own) if (part.group) Object.assign(part, arrange(part.id, parts, edges, bends));
  const byId = new Map(own.map((part) => [part.id, part]));
  const inner = edges
    .map((edge) => ({ edge, from: byId.get(partOf(group, edge.source)), to: byId.get(partOf(group, edge.target)) }))
    .filter(({ from, to }) => from && to && from !== to);
  turn(own, inner);
  rank(own, inner);
  const rows = fill(own, inner);
  order(rows);
  return coordinates(rows, inner, bends, group);
}

/** Mark the links that close a cycle, so that what is left has a direction. */
function turn(parts, links) {
  const state = new Map();
  const visit = (part) => {
    state.set(part, "open");
    for (const link of links) {
      if (link.from !== part) continue;
      if (state.get(link.to) === "open") link.back = true;
      else if (!state.has(link.to)) visit(link.to);
    }
    state.set(part, "done");
  };
  const entered = new Set(links.map(({ to }) => to));
  for (const part of [...parts.filter((one) => !entered.has(one)), ...parts]) if (!state.has(part)) visit(part);
}

function rank(parts, links) {
  for (const part of parts) part.rank = 0;
  for (let turns = 0; turns < parts.length; turns += 1) {
    let moved = false;
    for (const { from, to, back } of links) {
      const [above, below] = back ? [to, from] : [from, to];
      if (below.rank > above.rank) continue;
      below.rank = above.rank + 1;
      moved = true;
    }
    if (!moved) break;
  }
  const ends = parts.filter(({ kind }) => kind === "end");
  const lowest = Math.max(-1, ...parts.filter((part) => !ends.includes(part)).map((part) => part.rank));
  for (const part of ends) part.rank = lowest + 1; // an end is below all else, though the way to it be short
}

/** Return the rows, with points where edges cross them; every item knows those above and below it. */
function fill(parts, links) {
  const rows = [];
  const put = (item) => {
    Object.assign(item, { up: [], down: [] });
    (rows[item.rank] ??= []).push(item);
    return item;
  };
  parts.forEach(put);
  for (const link of links) {
    link.points = [];
    if (link.back) continue; // goes round
    const { from: above, to: below } = link;
    let last = above;
    for (let row = above.rank + 1; row < below.rank; row += 1) {
      const point = put({ rank: row, width: 2, height: 0, point: true });
      link.points.push(point);
      join(last, point);
      last = point;
    }
    join(last, below);
  }
  return rows;
}

function join(above, below) {
  above.down.push(below);
  below.up.push(above);
}

function order(rows) {
  const number = () => rows.forEach((row) => row.forEach((item, place) => Object.assign(item, { place })));
  number();
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 ? "down" : "up";
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      const weight = new Map(row.map((item) => [item, mean(item[side].map((other) => other.place)) ?? item.place]));
      row.sort((one, other) => weight.get(one) - weight.get(other));
      row.forEach((item, place) => Object.assign(item, { place }));
    }
  }
}

function mean(numbers) {
  return numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : null;
}

function coordinates(rows, links, bends, group) {
  for (const row of rows) pack(row, () => 0);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 ? "down" : "up";
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      pack(row, (item) => mean(item[side].map((other) => other.x)) ?? item.x);
    }
  }
  const pad = group ? PAD : { top: 4, side: 4, bottom: 4 };
  let y = pad.top;
  for (const row of rows) {
    const tallest = Math.max(...row.map((item) => item.height));
    for (const item of row) item.y = y + tallest / 2;
    y += tallest + RISE;
  }
  const all = rows.flat();
  const left = Math.min(...all.map((item) => item.x - item.width / 2)) - pad.side;
  for (const item of all) item.x -= left;
  let right = rightmost(all);
  for (const { edge, points, back, from, to } of links) {
    const bend = { group, back: Boolean(back), points };
    bends.set(edge, bend);
    if (!back) continue;
    const passed = all.filter((item) => !item.point && item.rank >= to.rank && item.rank <= from.rank);
    bend.points = [{ x: rightmost(passed) + ROUND, y: (from.y + to.y) / 2 }];
    right = Math.max(right, bend.points[0].x);
  }
  return { width: right + pad.side, height: y - RISE + pad.bottom };
}

function rightmost(items) {
  return Math.max(...items.map((item) => item.x + item.width / 2));
}

/** Place a row's items where they want to be, in their order and apart. */
function pack(row, wanted) {
  const wish = row.map(wanted);
  let edge = -Infinity;
  row.forEach((item, index) => {
    item.x = Math.max(wish[index], edge + item.width / 2);
    edge = item.x + item.width / 2 + GAP;
  });
  const off = mean(row.map((item, index) => wish[index] - item.x)) ?? 0;
  for (const item of row) item.x += off;
}

/** Turn places within groups into places on the drawing. */
function position(group, left, top, parts, boxes, groups, bends) {
  for (const { id, x, y, width, height, group: inner } of parts.get(group)) {
    if (!inner) {
      boxes.set(id, { x: left + x, y: top + y, width, height });
      continue;
    }
    const corner = { x: left + x - width / 2, y: top + y - height / 2 };
    groups.push({ id, ...corner, width, height });
    position(id, corner.x, corner.y, parts, boxes, groups, bends);
  }
  for (const bend of bends.values()) {
    if (bend.group === group) bend.points = bend.points.map(({ x, y }) => [left + x, top + y]);
  }
}

function route(edge, boxes, bend) {
  const [from, to] = [boxes.get(edge.source), boxes.get(edge.target)];
  if (!bend) return { edge, back: true, points: [right(from), [from.x + from.width / 2 + ROUND, from.y], right(to)] };
  if (bend.back) return { edge, back: true, points: [right(from), ...bend.points, right(to)] };
  const begin = [from.x, from.y + from.height / 2];
  return { edge, back: false, points: [begin, ...bend.points, [to.x, to.y - to.height / 2]] };
}

function right(box) {
  return [box.x + box.width / 2, box.y];
}
