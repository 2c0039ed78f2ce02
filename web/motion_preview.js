/** The preview of the motion sliders: landmarks before and after, and the face prompt, while a slider moves. */

import { api } from "../../scripts/api.js";
import { button, html, svg } from "./dom.js";
import { takersOf } from "./graph.js";
import { cropUrl } from "./people.js";
import { text } from "./strings.js";

const WIDGET = "dynamicid_preview";
const MIN_HEIGHT = 330;
const HEAD = ["yaw", "pitch", "roll"];
const NEUTRALISE = "neutralise";
const LATEST_ONLY = { cache: "no-store" };
const DOT = 0.012;

/** What the server knows of buttons and outlines; asked for once a page. */
let drawing = null;

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
    for (const widget of this.#widgets()) {
      const own = widget.callback;
      widget.callback = (...values) => {
        const result = own?.apply(widget, values);
        this.refresh();
        return result;
      };
    }
    const [configured, executed] = [this.#node.onConfigure, this.#node.onExecuted];
    this.#node.onConfigure = (...values) => {
      configured?.apply(this.#node, values);
      this.refresh();
    };
    this.#node.onExecuted = (output, ...rest) => {
      executed?.call(this.#node, output, ...rest);
      if (output?.dynamicid_motion?.length) this.#entry = output.dynamicid_motion[0];
      this.refresh();
    };
    this.#addPresets();
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
        const { outlines } = await drawingFacts();
        if (asked === this.#wanted) this.#show(answer, outlines);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #ask() {
    const values = Object.fromEntries(this.#widgets().map((widget) => [widget.name, widget.value]));
    const { [NEUTRALISE]: neutralise = false, ...sliders } = values;
    try {
      const response = await api.fetchApi("/dynamicid/motion", {
        ...LATEST_ONLY,
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

  #show(answer, outlines) {
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
    const dot = window[2] * DOT;
    parts.push(landmarks("before", answer.before, outlines, dot), landmarks("after", answer.after, outlines, dot));
    this.#svg.replaceChildren(...parts);
  }

  /** The words that Edit Face has of its own, which win over the sliders'. */
  #writtenPrompt() {
    const [editor] = takersOf(this.#node, 0, "DynamicIDEditFace");
    const written = editor?.widgets?.find((widget) => widget.name === "target_prompt")?.value?.trim();
    return written ? text("writtenPrompt", { prompt: written }) : null;
  }

  #widgets() {
    return (this.#node.widgets ?? []).filter((widget) => widget.name !== WIDGET && typeof widget.value !== "string");
  }

  async #addPresets() {
    const { expressions, poses } = await drawingFacts();
    const isHead = (name) => HEAD.includes(name);
    const isExpression = (name) => name !== NEUTRALISE && !isHead(name);
    for (const [name, values] of Object.entries(expressions)) this.#addPreset(name, values, isExpression);
    for (const [name, values] of Object.entries(poses)) this.#addPreset(name, values, isHead);
    this.#addPreset("reset", {}, () => true);
  }

  /** A button that sets the sliders that `belongs` names to `values`, and those it leaves out to 0. */
  #addPreset(name, values, belongs) {
    const element = button(text(name), text("presetHelp", { preset: text(name) }), () => {
      for (const widget of this.#widgets().filter((one) => belongs(one.name))) {
        const value = values[widget.name] ?? (widget.name === NEUTRALISE ? false : 0);
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
function landmarks(kind, points, outlines, size) {
  const lines = outlines.map((row) => `M${row.map((number) => points[number].join(" ")).join("L")}`);
  const dots = points.map(([x, y]) => `M${x} ${y}h0`).join("");
  return svg(
    "g",
    { class: kind },
    svg("path", { class: "lines", d: lines.join("") }),
    svg("path", { class: "rims", d: dots, "stroke-width": size * 1.4 }),
    svg("path", { class: "dots", d: dots, "stroke-width": size }),
  );
}

function drawingFacts() {
  drawing ??= api.fetchApi("/dynamicid/presets").then((response) => response.json());
  return drawing;
}
