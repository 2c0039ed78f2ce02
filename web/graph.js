/** Looking along the wires of the graph, through the walls of subgraphs in both directions. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const FARTHEST = 24;
const MUTED = 2;
const BYPASSED = 4;

/** Id of a subgraph -> the subgraph node through which it was opened last. */
const entered = new Map();

/** Remembers through which node the user enters a subgraph that several nodes show. */
export function watchSubgraphs() {
  app.canvas.canvas.addEventListener("subgraph-opened", ({ detail }) => {
    entered.set(detail.subgraph.id, detail.fromNode);
  });
}

/** Calls `extra` after the own method of that name of a node or widget. */
export function after(owner, method, extra) {
  const own = owner[method];
  owner[method] = (...values) => {
    const result = own?.apply(owner, values);
    extra(...values);
    return result;
  };
}

/**
 * Follows wires. A subgraph shows the same nodes through each of its subgraph nodes: a walk leaves it through the one it
 * came in by, else through the one that the user entered, else through the first.
 *
 * A place is {node, slot, wires}: a node, its output or input, and the wires to go on with from there.
 */
export class Wires {
  #hosts;

  /** `hosts`: id of a subgraph -> the subgraph node through which to leave it. */
  constructor(hosts = new Map()) {
    this.#hosts = hosts;
  }

  /** The same, inside the subgraph of `host`. */
  inside(host) {
    return new Wires(new Map(this.#hosts).set(host.subgraph.id, host));
  }

  /** The output that feeds input `slot` of `node`, or null; muted nodes give nothing, bypassed ones what they get. */
  before(node, slot, left = FARTHEST) {
    const link = linkInto(node, slot);
    if (!link || !left) return null;
    if (!link.originIsIoNode) return this.#output(node.graph.getNodeById(link.origin_id), link.origin_slot, left - 1);
    const host = this.#hostOf(node.graph);
    return host ? this.before(host, link.origin_slot, left - 1) : null;
  }

  /** The inputs that take output `slot` of `node`. */
  behind(node, slot, left = FARTHEST) {
    if (!node.graph || !left) return [];
    const takers = [...new Set(node.getOutputNodes(slot) ?? [])];
    const places = takers.flatMap((taker) =>
      (taker.inputs ?? []).flatMap((_, input) =>
        comesFrom(linkInto(taker, input), node, slot) ? this.into(taker, input, left - 1) : [],
      ),
    );
    const host = this.#hostOf(node.graph);
    if (!host) return places;
    const outside = node.graph.outputs.flatMap((output, number) =>
      output.getLinks().some((link) => comesFrom(link, node, slot)) ? this.behind(host, number, left - 1) : [],
    );
    return [...places, ...outside];
  }

  /** The inputs behind input `slot` of `node`: its own, or, of a subgraph, bypassed or reroute node, those after it. */
  into(node, slot, left = FARTHEST) {
    if (!left || node.mode === MUTED) return [];
    if (node.mode === BYPASSED || node.type === "Reroute") {
      const kind = node.inputs[slot].type;
      const fits = ({ type }) => node.type === "Reroute" || type === kind;
      return (node.outputs ?? []).flatMap((output, i) => (fits(output) ? this.behind(node, i, left - 1) : []));
    }
    if (!node.isSubgraphNode?.()) return [{ node, slot, wires: this }];
    const inner = this.inside(node);
    return (node.subgraph.inputs[slot]?.getLinks() ?? []).flatMap((link) => {
      if (link.targetIsIoNode) return this.behind(node, link.target_slot, left - 1);
      const target = node.subgraph.getNodeById(link.target_id);
      return target ? inner.into(target, link.target_slot, left - 1) : [];
    });
  }

  /** The widget that holds the value of widget `name` of `node`: its own or a subgraph node's; null where a wire brings it. */
  holder(node, name) {
    const slot = node.inputs?.findIndex((input) => input.widget?.name === name) ?? -1;
    const link = slot < 0 ? null : linkInto(node, slot);
    if (!link) return node.widgets?.find((widget) => widget.name === name) ?? null;
    const host = link.originIsIoNode ? this.#hostOf(node.graph) : null;
    const input = host?.inputs[link.origin_slot];
    return input ? this.holder(host, input.widget?.name ?? input.name) : null;
  }

  /** The value that widget `name` of `node` will be queued with, as far as it is known here. */
  value(node, name) {
    return (this.holder(node, name) ?? node.widgets?.find((widget) => widget.name === name))?.value;
  }

  #output(node, slot, left) {
    if (!node || node.mode === MUTED) return null;
    if (node.mode === BYPASSED) {
      const kind = node.outputs[slot]?.type;
      const same = (node.inputs ?? []).findIndex(({ type }) => type === kind);
      return same < 0 ? null : this.before(node, same, left);
    }
    if (node.type === "Reroute") return this.before(node, 0, left);
    if (!node.isSubgraphNode?.()) return { node, slot, wires: this };
    const [link] = node.subgraph.outputs[slot]?.getLinks() ?? [];
    if (!link) return null;
    if (link.originIsIoNode) return this.before(node, link.origin_slot, left);
    return this.inside(node).#output(node.subgraph.getNodeById(link.origin_id), link.origin_slot, left - 1);
  }

  #hostOf(graph) {
    if (!graph || graph.isRootGraph) return null;
    const known = this.#hosts.get(graph.id) ?? entered.get(graph.id);
    return known?.graph ? known : firstHost(graph);
  }
}

/** The place that feeds the input of that name, or null. */
export function sourceOf(wires, node, inputName) {
  const slot = node.inputs?.findIndex((input) => input.name === inputName) ?? -1;
  return slot < 0 ? null : wires.before(node, slot);
}

/** Address of the picture that the node at a place loads, or that the nodes before it load; null where there is none. */
export function photoOf({ node, wires }, left = FARTHEST) {
  const url = loadedPicture(wires, node);
  if (url || !left) return url;
  for (let slot = 0; slot < (node.inputs?.length ?? 0); slot++) {
    const source = wantsPictures(node.inputs[slot]) ? wires.before(node, slot) : null;
    const found = source ? photoOf(source, left - 1) : null;
    if (found) return found;
  }
  return null;
}

/** Width and height of the picture that the regions of `node` are for, read off the latent's node; null if unknown. */
export function pictureSize(wires, node) {
  const seen = new Set([node]);
  let edge = [{ node, wires }];
  for (let left = FARTHEST; left && edge.length; left--) {
    const next = edge.flatMap((one) => (one.node.outputs ?? []).flatMap((_, slot) => one.wires.behind(one.node, slot)));
    edge = next.filter((one) => !seen.has(one.node) && seen.add(one.node));
    for (const later of edge) {
      const size = latentSize(later);
      if (size) return size;
    }
  }
  return null;
}

/** The nodes of a type that take output `slot` of `node`. */
export function takersOf(wires, node, slot, comfyClass) {
  return wires.behind(node, slot).filter((place) => place.node.comfyClass === comfyClass);
}

/** What the last run of `node` left for the page, or null. */
export function lastOutput(node) {
  if (!node.graph) return null;
  const key = node.graph.isRootGraph ? `${node.id}` : `${node.graph.id}:${node.id}`;
  return app.nodeOutputs?.[key] ?? null;
}

/** Tells the page that a value has changed, so that it can be undone and is saved. */
export function noteChange() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.();
}

/** The wire into input `slot`, or null. A node that lies in no graph yet has none, and throws when asked. */
function linkInto(node, slot) {
  // A subgraph node's own method answers for what lies behind its outputs.
  return node.graph ? (LiteGraph.LGraphNode.prototype.getInputLink.call(node, slot) ?? null) : null;
}

function comesFrom(link, node, slot) {
  return link !== null && String(link.origin_id) === String(node.id) && link.origin_slot === slot;
}

function firstHost(graph) {
  const root = graph.rootGraph;
  for (const one of [root, ...(root?.subgraphs?.values() ?? [])]) {
    const host = one?.nodes.find((node) => node.subgraph?.id === graph.id);
    if (host) return host;
  }
  return null;
}

function latentSize({ node, wires }, left = FARTHEST) {
  for (let slot = 0; slot < (node.inputs?.length ?? 0); slot++) {
    const source = node.inputs[slot].type === "LATENT" ? wires.before(node, slot) : null;
    if (!source) continue;
    const [width, height] = ["width", "height"].map((name) => source.wires.value(source.node, name));
    if (width > 0 && height > 0) return { width, height };
    const size = left ? latentSize(source, left - 1) : null;
    if (size) return size;
  }
  return null;
}

function wantsPictures(input) {
  return input.type === "IMAGE" || input.type === "DYNAMICID_FACE";
}

function loadedPicture(wires, node) {
  const file = node.type === "LoadImage" ? wires.value(node, "image") : null;
  if (typeof file === "string" && file) return inputUrl(file);
  return node.imgs?.[0]?.src ?? null;
}

/** "folder/name.png [output]" as the host's combos write it -> address of the picture. */
function inputUrl(value) {
  const [, path, type = "input"] = value.match(/^(.*?)(?: \[(\w+)\])?$/);
  const cut = path.lastIndexOf("/");
  const parts = new URLSearchParams({ filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)), type });
  return api.apiURL(`/view?${parts}`);
}
