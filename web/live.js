/** Views that follow the graph around them: the page tells nobody when a value elsewhere changes. */

import { after } from "./graph.js";

const LOOK_MS = 500;
const looks = new Map();

/** Calls `look` now and then, as long as `node` lies in a graph and `element` is on the page. */
export function follow(node, element, look) {
  const begin = () => {
    looks.set(element, look);
    queueMicrotask(() => node.graph && look());
  };
  after(node, "onAdded", begin);
  after(node, "onRemoved", () => looks.delete(element));
  if (node.graph) begin();
}

/** No more calls for `element`. */
export function unfollow(element) {
  looks.delete(element);
}

setInterval(() => {
  if (document.hidden) return;
  for (const [element, look] of looks) {
    if (element.isConnected) look();
  }
}, LOOK_MS);
