/** The pack's part of ComfyUI's page: one extension that adds the canvas widgets. */

import { app } from "../../scripts/app.js";
import { html } from "./dom.js";
import { watchSubgraphs } from "./graph.js";
import { addMotionPreview } from "./motion_preview.js";
import { showPromoted } from "./promoted.js";
import { regionEditorWidget } from "./region_editor.js";
import { loadStrings } from "./strings.js";

const SIZES = {
  DynamicIDRegionEditor: [420, 660],
  DynamicIDMotionSliders: [420, 860],
};

app.registerExtension({
  name: "DynamicID",

  async init() {
    const href = new URL("dynamicid.css", import.meta.url);
    document.head.append(html("link", { rel: "stylesheet", href }));
    await loadStrings();
  },

  getCustomWidgets() {
    return { DYNAMICID_BOXES: regionEditorWidget };
  },

  setup() {
    watchSubgraphs();
  },

  nodeCreated(node) {
    if (node.isSubgraphNode?.()) showPromoted(node);
    if (node.comfyClass === "DynamicIDMotionSliders") addMotionPreview(node);
    const size = SIZES[node.comfyClass];
    if (size) node.setSize([Math.max(node.size[0], size[0]), Math.max(node.size[1], size[1])]);
  },
});
