/**
 * Our widgets on subgraph nodes.
 *
 * The page promotes values: of a widget with an element of its own, newer frontends show an empty row on the subgraph
 * node. There, a second drawing of the same node takes that row's place; it reads and writes the promoted value.
 */

import { drawingWidget } from "./dom.js";
import { after, Wires } from "./graph.js";
import { unfollow } from "./live.js";
import { MotionPreview, PREVIEW } from "./motion_preview.js";
import { RegionEditor } from "./region_editor.js";

const WIDTH = 420;
const MIN_HEIGHT = 330;
const ROOM = 120;
const EVENTS = ["widget-promoted", "widget-demoted", "input-added", "removing-input"];
const DRAWINGS = {
  DynamicIDRegionEditor: { boxes: ({ node, wires }) => new RegionEditor(node, wires, "boxes") },
  DynamicIDMotionSliders: { [PREVIEW]: ({ node, wires }) => new MotionPreview(node, wires) },
};

/** Keeps the drawings on a subgraph node in step with what is promoted onto it. */
export function showPromoted(host) {
  const drawings = new Map();
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      if (host.graph) update(host, drawings);
    });
  };
  for (const event of EVENTS) host.subgraph.events.addEventListener(event, soon);
  after(host, "onAdded", soon);
  after(host, "onConfigure", soon);
  soon();
}

function update(host, drawings) {
  const promoted = new Map(promotedDrawings(host).map((found) => [found.place.node, found]));
  for (const [node, widget] of drawings) {
    if (promoted.has(node)) continue;
    drawings.delete(node);
    if (widget) remove(host, widget);
  }
  for (const [node, { row, place }] of promoted) {
    const isShown = Boolean(row.element);
    if (!isShown) hide(row);
    if (drawings.has(node)) continue;
    drawings.set(node, isShown ? null : added(host, row, place));
    grow(host);
  }
}

function added(host, row, place) {
  const drawing = drawingOf(place)(place);
  const options = { serialize: false, getValue: () => "" };
  const widget = drawingWidget(host, `${row.name} drawing`, "DYNAMICID_DRAWING", drawing.element, MIN_HEIGHT, options);
  widget.label = row.label ?? row.name;
  drawing.follow(host);
  return widget;
}

function remove(host, widget) {
  unfollow(widget.element);
  host.removeWidget(widget);
}

function grow(host) {
  const [width, height] = host.computeSize();
  host.setSize([Math.max(host.size[0], width, WIDTH), Math.max(host.size[1], height + ROOM)]);
  host.setDirtyCanvas(true, true);
}

/** Each frontend reads one of these; in some, the options cannot be replaced. */
function hide(row) {
  row.hidden = true;
  if (row.options) row.options.hidden = true;
  Reflect.set(row, "options", { ...row.options, hidden: true });
}

/** The rows of a subgraph node that stand for one of our drawings: {row, place}. */
function promotedDrawings(host) {
  const wires = new Wires();
  return (host.inputs ?? []).flatMap((input, slot) => {
    const place = wires.into(host, slot).find(drawingOf);
    const name = input.widget?.name ?? input.name;
    const row = place && host.widgets.find((widget) => widget.name === name);
    return row ? [{ row, place }] : [];
  });
}

function drawingOf({ node, slot }) {
  return DRAWINGS[node.comfyClass]?.[node.inputs[slot].widget?.name];
}
