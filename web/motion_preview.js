/**
 * The preview of the motion sliders: landmarks before and after, and the face prompt, while a slider moves. Motions of
 * several frames can be played.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { button, drawingWidget, html, svg } from "./dom.js";
import { after, lastOutput, noteChange, takersOf, Wires } from "./graph.js";
import { follow } from "./live.js";
import { cropUrl } from "./people.js";
import { text } from "./strings.js";

export const PREVIEW = "dynamicid_preview";
const MIN_HEIGHT = 330;
const TYPE = "DYNAMICID_MOTION_PREVIEW";
const DOT = 0.012;
const FRAME_MS = 125;
const NOBODY = { id: "", crop: false, crop_box: null };

/** What the server knows of buttons and outlines; asked for until there is an answer, then never again. */
let facts = null;

/** Adds the preview and the buttons to a sliders node. */
export function addMotionPreview(node) {
  const preview = new MotionPreview(node, new Wires());
  const widget = drawingWidget(node, PREVIEW, TYPE, preview.element, MIN_HEIGHT, { serialize: false });
  widget.label = text("motion");
  // Without an input of its own, a widget cannot be promoted onto a subgraph node.
  node.addInput(PREVIEW, TYPE, { widget: { name: PREVIEW }, label: widget.label });
  preview.follow(node);
}

/** The drawing for one sliders node, seen along `wires`. */
export class MotionPreview {
  #node;
  #wires;
  #shown = "";
  #wanted = 0;
  #busy = false;
  #forgotten = new Set();
  #frame = 0;
  #frames = 1;
  #of = "";
  #timer = null;
  #svg = svg("svg", { role: "img", "aria-label": text("motion") });
  #prompt = html("div", { class: "dynamicid-note", "aria-live": "polite" });
  #player = button(text("play"), text("playHelp"), () => this.#play(this.#timer === null));
  #playerBar = html("div", { class: "dynamicid-bar" }, this.#player);
  #bars = html("div", { class: "dynamicid-bar" });

  constructor(node, wires) {
    this.#node = node;
    this.#wires = wires;
    this.element = html("div", { class: "dynamicid-widget dynamicid-motion" }, this.#svg, this.#prompt, this.#bars);
  }

  /** Follows sliders, runs and the graph around `shown`, the node that the drawing is on. */
  follow(shown) {
    for (const widget of shown.widgets ?? []) after(widget, "callback", () => this.#look());
    for (const method of ["onExecuted", "onConfigure"]) after(shown, method, () => queueMicrotask(() => this.#look()));
    follow(shown, this.element, () => this.#look());
    this.refresh();
  }

  /** Asks for the picture of the sliders as they are now. One request at a time; the last wish wins. */
  async refresh() {
    this.#shown = this.#state();
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

  /** Asks anew if anything that the picture shows has changed. */
  #look() {
    if (this.#state() !== this.#shown) this.refresh();
  }

  #state() {
    return JSON.stringify([this.#values(), this.#entry().id, this.#writtenPrompt()]);
  }

  /** Shows one frame after the other, or stops at the one that is shown. */
  #play(on) {
    clearInterval(this.#timer);
    this.#timer = on ? setInterval(() => this.#next(), FRAME_MS) : null;
    this.#player.textContent = text(on ? "stop" : "play");
    // Nobody wants eight sentences a second read out.
    this.#prompt.setAttribute("aria-live", on ? "off" : "polite");
  }

  #next() {
    if (!this.element.isConnected) this.#play(false);
    if (this.#busy || document.hidden) return;
    this.#frame = (this.#frame + 1) % this.#frames;
    this.refresh();
  }

  /** The player is there where there is something to play. */
  #setFrames(frames) {
    this.#frames = frames;
    if (frames === 1) {
      this.#play(false);
      this.#playerBar.remove();
    } else if (!this.#playerBar.parentElement) {
      this.#bars.before(this.#playerBar);
    }
  }

  #values() {
    return Object.fromEntries(this.#sliders().map(({ name }) => [name, this.#wires.value(this.#node, name)]));
  }

  /** What the last run left, unless the server has forgotten it since. */
  #entry() {
    const entry = lastOutput(this.#node)?.dynamicid_motion?.[0];
    return entry && !this.#forgotten.has(entry.id) ? entry : NOBODY;
  }

  async #ask() {
    const { neutralise = false, ...sliders } = this.#values();
    const entry = this.#entry();
    if (entry.id !== this.#of) [this.#of, this.#frame] = [entry.id, 0];
    try {
      facts ??= await presets();
      this.#addPresets();
      const response = await api.fetchApi("/dynamicid/motion", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id: entry.id, sliders, neutralise, frame: this.#frame }),
      });
      if (response.status === 404 && entry.id) {
        this.#forgotten.add(entry.id);
        return this.#ask();
      }
      const answer = await response.json();
      return response.ok ? { ...answer, entry } : { error: answer.error ?? response.statusText };
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
    this.#setFrames(answer.frames);
    this.#prompt.textContent = this.#writtenPrompt() ?? answer.prompt;
    const box = answer.entry.crop ? answer.entry.crop_box : null;
    const window = around(box, answer.before, answer.after);
    this.#svg.setAttribute("viewBox", window.join(" "));
    const parts = [];
    if (box) {
      const [x, y, right, bottom] = box;
      const place = { x, y, width: right - x, height: bottom - y, preserveAspectRatio: "none" };
      parts.push(svg("image", { href: cropUrl(answer.entry.id), ...place }));
    }
    for (const kind of ["before", "after"]) parts.push(landmarks(kind, answer[kind], window[2] * DOT));
    this.#svg.replaceChildren(...parts);
  }

  /** The words that Edit Face has of its own, which win over the sliders'. */
  #writtenPrompt() {
    const [editor] = takersOf(this.#wires, this.#node, 0, "DynamicIDEditFace");
    const written = editor?.wires.value(editor.node, "target_prompt")?.trim();
    return written ? text("writtenPrompt", { prompt: written }) : null;
  }

  #sliders() {
    return (this.#node.widgets ?? []).filter((widget) => ["number", "boolean"].includes(typeof widget.value));
  }

  #addPresets() {
    if (this.#bars.childElementCount) return;
    for (const [name, values] of Object.entries({ ...facts.expressions, ...facts.poses })) this.#addPreset(name, values);
    const rest = this.#sliders().map((widget) => [widget.name, typeof widget.value === "boolean" ? false : 0]);
    this.#addPreset("reset", Object.fromEntries(rest));
  }

  /** A button that sets the sliders in `values`. */
  #addPreset(name, values) {
    const element = button(text(name), text("presetHelp", { preset: text(name) }), () => {
      for (const [slider, value] of Object.entries(values)) {
        const widget = this.#wires.holder(this.#node, slider);
        if (!widget || widget.value === value) continue;
        widget.value = value;
        widget.callback?.(value);
      }
      app.canvas.setDirty(true, true);
      noteChange();
      this.#look();
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
