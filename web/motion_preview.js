/** The preview of the motion sliders: landmarks before and after, and the face prompt, while a slider moves. */

import { api } from "../../scripts/api.js";
import { button, html, svg } from "./dom.js";
import { after, takersOf } from "./graph.js";
import { cropUrl } from "./people.js";
import { text } from "./strings.js";

const WIDGET = "dynamicid_preview";
const MIN_HEIGHT = 330;
const DOT = 0.012;

/** What the server knows of buttons and outlines; asked for until there is an answer, then never again. */
let facts = null;

/** Adds the preview and the buttons to a sliders node. */
export function addMotionPreview(node) {
  const preview = new MotionPreview(node);
  node.addDOMWidget(WIDGET, "DYNAMICID_MOTION_PREVIEW", preview.element, {
    serialize: false,
    getMinHeight: () => MIN_HEIGHT,
    hideOnZoom: false,
  });
  preview.listen();
}

class MotionPreview {
  #node;
  #entry = { id: "", crop: false, crop_box: null };
  #wanted = 0;
  #busy = false;
  #svg = svg("svg", { role: "img", "aria-label": text("motion") });
  #prompt = html("div", { class: "dynamicid-note", "aria-live": "polite" });
  #bars = html("div", { class: "dynamicid-bar" });

  constructor(node) {
    this.#node = node;
    this.element = html("div", { class: "dynamicid-widget dynamicid-motion" }, this.#svg, this.#prompt, this.#bars);
  }

  /** Follows the sliders, saved workflows and runs of the graph. */
  listen() {
    for (const widget of this.#widgets()) after(widget, "callback", () => this.refresh());
    after(this.#node, "onConfigure", () => this.refresh());
    after(this.#node, "onExecuted", (output) => {
      if (output?.dynamicid_motion?.length) this.#entry = output.dynamicid_motion[0];
      this.refresh();
    });
    this.refresh();
  }

  /** Asks for the picture of the sliders as they are now. One request at a time; the last wish wins. */
  async refresh() {
    this.#wanted++;
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let asked = 0; asked !== this.#wanted; ) {
        asked = this.#wanted;
        const answer = await this.#ask();
        if (asked === this.#wanted) this.#show(answer);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #ask() {
    const values = Object.fromEntries(this.#widgets().map((widget) => [widget.name, widget.value]));
    const { neutralise = false, ...sliders } = values;
    try {
      facts ??= await presets();
      this.#addPresets();
      const response = await api.fetchApi("/dynamicid/motion", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id: this.#entry.id, sliders, neutralise }),
      });
      if (response.status === 404 && this.#entry.id) {
        this.#entry = { id: "", crop: false, crop_box: null };
        return this.#ask();
      }
      const answer = await response.json();
      return response.ok ? answer : { error: answer.error ?? response.statusText };
    } catch {
      return { error: text("noServer") };
    }
  }

  #show(answer) {
    this.#prompt.toggleAttribute("data-error", Boolean(answer.error));
    if (answer.error) {
      this.#prompt.textContent = answer.error;
      return;
    }
    this.#prompt.textContent = this.#writtenPrompt() ?? answer.prompt;
    const box = this.#entry.crop ? this.#entry.crop_box : null;
    const window = around(box, answer.before, answer.after);
    this.#svg.setAttribute("viewBox", window.join(" "));
    const parts = [];
    if (box) {
      const [x, y, right, bottom] = box;
      const place = { x, y, width: right - x, height: bottom - y, preserveAspectRatio: "none" };
      parts.push(svg("image", { href: cropUrl(this.#entry.id), ...place }));
    }
    for (const kind of ["before", "after"]) parts.push(landmarks(kind, answer[kind], window[2] * DOT));
    this.#svg.replaceChildren(...parts);
  }

  /** The words that Edit Face has of its own, which win over the sliders'. */
  #writtenPrompt() {
    const [editor] = takersOf(this.#node, 0, "DynamicIDEditFace");
    const written = editor?.widgets?.find((widget) => widget.name === "target_prompt")?.value?.trim();
    return written ? text("writtenPrompt", { prompt: written }) : null;
  }

  #widgets() {
    return (this.#node.widgets ?? []).filter((widget) => ["number", "boolean"].includes(typeof widget.value));
  }

  #addPresets() {
    if (this.#bars.childElementCount) return;
    for (const [name, values] of Object.entries({ ...facts.expressions, ...facts.poses })) this.#addPreset(name, values);
    const rest = this.#widgets().map((widget) => [widget.name, typeof widget.value === "boolean" ? false : 0]);
    this.#addPreset("reset", Object.fromEntries(rest));
  }

  /** A button that sets the sliders in `values`. */
  #addPreset(name, values) {
    const element = button(text(name), text("presetHelp", { preset: text(name) }), () => {
      for (const widget of this.#widgets()) {
        const value = values[widget.name] ?? widget.value;
        if (widget.value === value) continue;
        widget.value = value;
        widget.callback?.(value);
      }
      this.#node.setDirtyCanvas(true, true);
    });
    element.dataset.preset = name;
    this.#bars.append(element);
  }
}

/** x, y, width, height of a square around the crop and all landmarks. */
function around(box, ...points) {
  const corners = [...points.flat(), ...(box ? [box.slice(0, 2), box.slice(2)] : [])];
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const side = Math.max(right - left, bottom - top, 1) * 1.08;
  return [(left + right - side) / 2, (top + bottom - side) / 2, side, side];
}

/** Lines along the outlines and a dot a landmark: three elements, so that moving the node costs no frames. */
function landmarks(kind, points, size) {
  const lines = facts.outlines.map((row) => `M${row.map((number) => points[number].join(" ")).join("L")}`);
  const dots = points.map(([x, y]) => `M${x} ${y}h0`).join("");
  return svg(
    "g",
    { class: kind },
    svg("path", { class: "lines", d: lines.join("") }),
    svg("path", { class: "rims", d: dots, "stroke-width": size * 1.4 }),
    svg("path", { class: "dots", d: dots, "stroke-width": size }),
  );
}

async function presets() {
  const response = await api.fetchApi("/dynamicid/presets");
  if (!response.ok) throw new Error(response.statusText);
  return response.json();
}
