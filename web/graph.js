/** Looking along the wires of the graph, and hearing of what happens to a node. */

import { api } from "../../scripts/api.js";

const FARTHEST = 12;

/** Calls `extra` after the own method of that name of a node or widget. */
export function after(owner, method, extra) {
  const own = owner[method];
  owner[method] = (...values) => {
    const result = own?.apply(owner, values);
    extra(...values);
    return result;
  };
}

/** The node at the other end of the wire into `inputName`, or null. */
export function sourceOf(node, inputName) {
  const slot = node.inputs?.findIndex((input) => input.name === inputName) ?? -1;
  return slot < 0 ? null : nodeBefore(node, slot);
}

/** The node wired to input `slot`, or null. A node that lies in no graph yet has no wires, and throws when asked. */
function nodeBefore(node, slot) {
  return node.graph ? (node.getInputNode(slot) ?? null) : null;
}

/** The nodes that take output `slot`. */
function nodesBehind(node, slot) {
  return node.graph ? (node.getOutputNodes(slot) ?? []) : [];
}

/** Address of the picture that `node` loads, or that the nodes before it load; null where there is none. */
export function photoOf(node, distance = 0) {
  const url = loadedPicture(node);
  if (url || distance > FARTHEST) return url;
  for (let slot = 0; slot < (node.inputs?.length ?? 0); slot++) {
    const source = wantsPictures(node.inputs[slot]) ? nodeBefore(node, slot) : null;
    const found = source ? photoOf(source, distance + 1) : null;
    if (found) return found;
  }
  return null;
}

/** Width and height of the picture that the regions of `node` are for, read off the latent's node; null if unknown. */
export function pictureSize(node) {
  for (const later of nodesAfter(node)) {
    for (let slot = 0; slot < (later.inputs?.length ?? 0); slot++) {
      if (later.inputs[slot].type !== "LATENT") continue;
      const size = latentSize(nodeBefore(later, slot), 0);
      if (size) return size;
    }
  }
  return null;
}

/** The nodes of a type that take output `slot` of `node`. */
export function takersOf(node, slot, comfyClass) {
  return nodesBehind(node, slot).filter((taker) => taker.comfyClass === comfyClass);
}

function nodesAfter(node) {
  const seen = new Set([node]);
  let edge = [node];
  for (let distance = 0; distance < FARTHEST && edge.length; distance++) {
    const next = edge.flatMap((one) => (one.outputs ?? []).flatMap((_, slot) => nodesBehind(one, slot)));
    edge = next.filter((one) => !seen.has(one));
    for (const one of edge) seen.add(one);
  }
  seen.delete(node);
  return seen;
}

function latentSize(node, distance) {
  if (!node || distance > FARTHEST) return null;
  const [width, height] = ["width", "height"].map((name) => node.widgets?.find((w) => w.name === name)?.value);
  if (width > 0 && height > 0) return { width, height };
  for (let slot = 0; slot < (node.inputs?.length ?? 0); slot++) {
    if (node.inputs[slot].type !== "LATENT") continue;
    const size = latentSize(nodeBefore(node, slot), distance + 1);
    if (size) return size;
  }
  return null;
}

function wantsPictures(input) {
  return input.type === "IMAGE" || input.type === "DYNAMICID_FACE";
}

function loadedPicture(node) {
  const widget = node.type === "LoadImage" ? node.widgets?.find((one) => one.name === "image") : null;
  if (typeof widget?.value === "string" && widget.value) return inputUrl(widget.value);
  return node.imgs?.[0]?.src ?? null;
}

/** "folder/name.png [output]" as the host's combos write it -> address of the picture. */
function inputUrl(value) {
  const [, path, type = "input"] = /^(.*?)(?: \[(\w+)\])?$/.exec(value);
  const cut = path.lastIndexOf("/");
  const parts = new URLSearchParams({ filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)), type });
  return api.apiURL(`/view?${parts}`);
}
