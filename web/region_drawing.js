/** The region editor's picture: places, numbers, thumbnails and overlaps as SVG. */

import { overlap } from "./boxes.js";
import { svg } from "./dom.js";
import { PERSON_COLOURS } from "./people.js";
import { text } from "./strings.js";

const HANDLES = { nw: [0, 0], n: [0.5, 0], ne: [1, 0], w: [0, 0.5], e: [1, 0.5], sw: [0, 1], s: [0.5, 1], se: [1, 1] };
const HANDLE_PIXELS = 11;
const NUMBER = 64;
const STRIPE = 22;
const MARGIN = 8;

/**
 * Fills `root` with what `view` describes.
 *
 * view: size (width and height of the picture in units of the drawing), background (address or null), boxes (one
 * [x, y, width, height] in shares or null a person), automatic (number -> box), connected (numbers), selected (number
 * or null), thumbnail (number -> address or null).
 */
export function drawPlaces(root, view) {
  const { width, height } = view.size;
  root.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`);
  const given = view.boxes.flatMap((box, i) => (box ? [[i + 1, box]] : []));
  const parts = [svg("rect", { class: "picture", width, height })];
  if (view.background) parts.push(picture(view.background, [0, 0, width, height], "none"));
  for (const [number, box] of view.automatic) parts.push(place(view, number, box, "automatic"));
  for (const [number, box] of given) {
    const kind = view.connected.includes(number) ? "" : "waiting";
    parts.push(place(view, number, box, number === view.selected ? `selected ${kind}` : kind));
  }
  parts.push(...overlaps(view.size, given));
  for (const [number, box] of [...view.automatic, ...given]) parts.push(label(view.size, number, box));
  const chosen = given.find(([number]) => number === view.selected);
  if (chosen) parts.push(handles(root, view.size, ...chosen));
  root.replaceChildren(...parts);
}

function place(view, number, box, kind) {
  const colour = PERSON_COLOURS[number - 1];
  const [x, y, width, height] = pixels(view.size, box);
  const title = kind === "automatic" ? text("automaticPlace", { person: number }) : text("person", { person: number });
  const group = svg("g", { class: kind.trim() }, svg("title", {}, title));
  if (kind !== "automatic") group.dataset.person = number;
  group.append(svg("rect", { class: "place", x, y, width, height, fill: colour, stroke: colour }));
  const side = Math.min(width, height) * 0.5;
  const url = view.thumbnail(number);
  if (url) group.append(picture(url, [x + (width - side) / 2, y + (height - side) / 2, side, side], "xMidYMid slice"));
  return group;
}

/** The person's number in the upper left corner, above all stripes. */
function label(size, number, box) {
  const [x, y, width, height] = pixels(size, box);
  const side = Math.min(NUMBER, width, height);
  return svg(
    "g",
    { class: "label" },
    svg("rect", { x, y, width: side, height: side, fill: PERSON_COLOURS[number - 1] }),
    svg("text", { class: "number", x: x + side / 2, y: y + side / 2, "font-size": side * 0.7 }, String(number)),
  );
}

/** Stripes of both colours where two places overlap: either person may appear there. */
function overlaps(size, given) {
  const parts = [];
  for (const [i, [one, a]] of given.entries()) {
    for (const [other, b] of given.slice(i + 1)) {
      const shared = overlap(a, b);
      if (shared) parts.push(stripes(size, one, other, shared));
    }
  }
  return parts;
}

function stripes(size, one, other, box) {
  const [x, y, width, height] = pixels(size, box);
  const lines = [];
  for (let at = 0, turn = 0; at < width + height; at += STRIPE, turn++) {
    const [from, to] = [Math.max(0, at - height), Math.min(width, at)];
    const colour = PERSON_COLOURS[(turn % 2 ? one : other) - 1];
    lines.push(
      svg("line", {
        x1: x + from, y1: y + at - from, x2: x + to, y2: y + at - to, stroke: colour, "stroke-width": STRIPE / 2,
        "stroke-opacity": 0.75,
      }),
    );
  }
  const group = svg("g", { class: "overlap", "data-pair": `${one}-${other}` }, ...lines);
  const letters = Math.min(NUMBER * 0.75, height * 0.6, width / 3);
  const [middleX, middleY] = [x + width / 2, y + height / 2];
  group.append(
    svg("rect", {
      x: middleX - letters * 1.3, y: middleY - letters * 0.65, width: letters * 2.6, height: letters * 1.3, rx: letters * 0.2,
      fill: "#fff", "fill-opacity": 0.85,
    }),
    svg("text", { x: middleX, y: middleY, "font-size": letters }, `${one} + ${other}`),
  );
  return group;
}

/** Grips of the selected place, of the same size on the screen at every zoom. */
function handles(root, size, number, box) {
  const [x, y, width, height] = pixels(size, box);
  const scale = root.getScreenCTM()?.a || 1;
  const side = Math.min(HANDLE_PIXELS / scale, Math.max(width, height) / 2);
  const group = svg("g", { "data-person": number });
  for (const [edges, [across, down]] of Object.entries(HANDLES)) {
    const grip = svg("rect", {
      class: "handle", x: x + across * width - side / 2, y: y + down * height - side / 2, width: side, height: side,
      style: `cursor: ${edges}-resize`,
    });
    grip.dataset.edges = edges;
    group.append(grip);
  }
  return group;
}

function picture(href, [x, y, width, height], preserveAspectRatio) {
  return svg("image", { href, x, y, width, height, preserveAspectRatio });
}

function pixels({ width, height }, [x, y, boxWidth, boxHeight]) {
  return [x * width, y * height, boxWidth * width, boxHeight * height];
}
