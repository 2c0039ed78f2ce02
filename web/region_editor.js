/** The `boxes` input of the region editor: places of people, drawn on the node. */

import {
  automaticPlaces, between, format, History, moved, nextPerson, overlap, parse, resized, SMALLEST, swapped, withBox,
} from "./boxes.js";
import { button, drawingWidget, html, svg } from "./dom.js";
import { after, noteChange, Wires } from "./graph.js";
import { follow } from "./live.js";
import { MAX_PEOPLE } from "./people.js";
import { drawPlaces } from "./region_drawing.js";
import { text } from "./strings.js";
import { Surroundings } from "./surroundings.js";

const STEP = 0.01;
const BIG_STEP = 0.05;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MIN_HEIGHT = 310;

/** Widget for an input whose `widgetType` is DYNAMICID_BOXES. */
export function regionEditorWidget(node, inputName, inputData) {
  const editor = new RegionEditor(node, new Wires(), inputName, inputData[1]?.default);
  const value = { getValue: () => editor.value, setValue: (text) => editor.setValue(text) };
  const widget = drawingWidget(node, inputName, "DYNAMICID_BOXES", editor.element, MIN_HEIGHT, value);
  editor.follow(node);
  return { widget };
}

/** The drawing of a region editor node's boxes, seen along `wires`; `value` is the text that says where they are. */
export class RegionEditor {
  #node;
  #wires;
  #name;
  #history = new History();
  #selected = null;
  #drag = null;
  #surroundings;
  #keys;
  #buttons;
  #note;

  /** `name` is the input that holds the boxes. */
  constructor(node, wires, name, value = "[]") {
    this.#node = node;
    this.#wires = wires;
    this.#name = name;
    this.#surroundings = new Surroundings(node, wires, () => this.#look());
    this.value = value;
    this.svg = svg("svg", { tabindex: -1, role: "application", "aria-label": text("places") });
    // The page undoes the whole graph on Ctrl+Z before anybody hears of the key, unless a text area has the keyboard.
    this.#keys = html("textarea", { class: "dynamicid-keys", readonly: "", rows: 1, "aria-label": text("places") });
    this.#buttons = {
      undo: button("↶", text("undo"), () => this.#restore("undo")),
      redo: button("↷", text("redo"), () => this.#restore("redo")),
      swap: button("⇄", text("swap"), () => this.#swapWithNext()),
      remove: button("✕", text("remove"), () => this.#remove()),
    };
    this.#note = html("div", { class: "dynamicid-note", "aria-live": "polite" });
    const bar = html("div", { class: "dynamicid-bar" }, ...Object.values(this.#buttons));
    this.element = html("div", { class: "dynamicid-widget dynamicid-editor" }, this.#keys, this.svg, bar, this.#note);
  }

  /** Takes over text from a saved workflow, from undo, from a subgraph node or from a script. */
  setValue(value) {
    if (value === this.value) return;
    this.value = typeof value === "string" ? value : "[]";
    this.#selected = null;
    this.draw();
  }

  /** Hooks up pointer and keyboard, and follows what happens around `shown`, the node that the drawing is on. */
  follow(shown) {
    const pointer = { pointerdown: "down", pointermove: "move", pointerup: "up", pointercancel: "cancel" };
    for (const [event, name] of Object.entries(pointer)) {
      this.svg.addEventListener(event, (e) => this.#pointer(name, e));
    }
    this.svg.addEventListener("focus", () => this.#keys.focus({ preventScroll: true }));
    this.#keys.addEventListener("keydown", (event) => this.#key(event));
    for (const method of ["onExecuted", "onConnectionsChange", "onConfigure"]) {
      after(shown, method, () => queueMicrotask(() => this.#look()));
    }
    follow(shown, this.element, () => this.#look());
    this.draw();
  }

  /** Draws everything anew from `value`. */
  draw() {
    const around = this.#surroundings;
    around.update();
    const { connected } = around;
    const readable = parse(this.value);
    const boxes = readable ?? [];
    this.#say(readable ? this.#hint(boxes, connected) : text("unreadable"), !readable);
    drawPlaces(this.svg, {
      size: around.size,
      background: around.background,
      boxes: this.#drag?.boxes ?? boxes,
      automatic: automaticPlaces(boxes, connected),
      connected,
      selected: this.#selected,
      thumbnail: (number) => around.thumbnail(number),
    });
    const chosen = this.#selected !== null;
    this.#buttons.undo.disabled = !this.#history.canUndo;
    this.#buttons.redo.disabled = !this.#history.canRedo;
    this.#buttons.swap.disabled = !chosen || boxes.filter(Boolean).length < 2;
    this.#buttons.remove.disabled = !chosen;
  }

  /** Draws anew if something else than the drawing itself has changed. */
  #look() {
    const held = this.#wires.value(this.#node, this.#name);
    if (held !== undefined && held !== this.value) this.setValue(held);
    else if (this.#surroundings.update()) this.draw();
  }

  /** The boxes; none where the text is unreadable, so that drawing begins anew. */
  #boxes() {
    return parse(this.value) ?? [];
  }

  #commit(boxes) {
    const changed = format(boxes);
    if (changed !== this.value) {
      this.#history.push(this.value);
      this.#change(changed);
    }
    this.draw();
  }

  #change(value) {
    this.value = value;
    const holder = this.#wires.holder(this.#node, this.#name);
    if (holder && holder.value !== value) holder.value = value;
    else holder?.callback?.(value);
    // The drawing keeps its pointer and key events to itself, so the page must be told to look for changes.
    noteChange();
  }

  #restore(direction) {
    const before = this.#history[direction](this.value);
    if (before === null) return;
    this.#selected = null;
    this.#change(before);
    this.draw();
  }

  #remove() {
    if (this.#selected === null) return;
    const boxes = withBox(this.#boxes(), this.#selected, null);
    this.#selected = null;
    this.#commit(boxes);
  }

  #swapWithNext() {
    const boxes = this.#boxes();
    const others = boxes.flatMap((box, i) => (box && i + 1 !== this.#selected ? [i + 1] : []));
    if (this.#selected === null || !others.length) return;
    this.#giveTo(others.find((number) => number > this.#selected) ?? others[0]);
  }

  #giveTo(number) {
    if (this.#selected === null || number === this.#selected) return;
    const boxes = swapped(this.#boxes(), this.#selected, number);
    this.#selected = number;
    this.#commit(boxes);
  }

  #pointer(name, event) {
    if (name === "down" ? event.button !== 0 : event.pointerId !== this.#drag?.pointer) return;
    event.preventDefault();
    event.stopPropagation();
    const point = this.#point(event);
    if (name === "down") this.#begin(event, point);
    if (name === "move") this.#follow(point);
    if (name === "up") this.#finish();
    if (name === "cancel") this.#drag = null;
    this.draw();
  }

  #begin(event, point) {
    this.#keys.focus({ preventScroll: true });
    this.svg.setPointerCapture(event.pointerId);
    const boxes = this.#boxes();
    const hit = event.target.closest("[data-person]");
    const number = hit ? Number(hit.dataset.person) : nextPerson(boxes, this.#surroundings.connected);
    const before = hit ? boxes[number - 1] : null;
    this.#drag = { pointer: event.pointerId, start: point, number, boxes, before, edges: event.target.dataset.edges };
    this.#selected = hit ? number : null;
  }

  #follow(point) {
    const { start, number, before, edges, boxes } = this.#drag;
    if (number === null) return;
    const [dx, dy] = [point[0] - start[0], point[1] - start[1]];
    let box = between(start, point);
    if (before) box = edges ? resized(before, edges, dx, dy) : moved(before, dx, dy);
    this.#drag.boxes = withBox(boxes, number, box);
    this.#selected = number;
  }

  #finish() {
    const { boxes, number, before } = this.#drag;
    this.#drag = null;
    const box = number === null ? null : boxes[number - 1];
    const tooSmall = box && !before && (box[2] < SMALLEST || box[3] < SMALLEST);
    if (tooSmall) this.#selected = null;
    else if (box) this.#commit(boxes);
  }

  /** The event's place in shares of the picture. */
  #point(event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    const { width, height } = this.#surroundings.size;
    return [place.x / width, place.y / height];
  }

  #key(event) {
    if (!this.#pressed(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Whether the key meant something here. */
  #pressed(event) {
    const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase();
    if (undoes === "z" || undoes === "y") {
      this.#restore(undoes === "y" || event.shiftKey ? "redo" : "undo");
      return true;
    }
    if (event.ctrlKey || event.metaKey) return false;
    if (event.key === "Tab") return this.#selectNext(event.shiftKey ? -1 : 1);
    // The page deletes the whole node on these; whoever works on the boxes does not mean that.
    if (event.key === "Delete" || event.key === "Backspace") {
      this.#remove();
      return true;
    }
    if (this.#selected === null) return false;
    if (event.key === "Escape") this.#select(null);
    else if (event.key in ARROWS) this.#nudge(event);
    else if (/^[1-9]$/.test(event.key) && Number(event.key) <= MAX_PEOPLE) this.#giveTo(Number(event.key));
    else return false;
    return true;
  }

  #nudge(event) {
    const step = event.shiftKey ? BIG_STEP : STEP;
    const [dx, dy] = ARROWS[event.key].map((direction) => direction * step);
    const boxes = this.#boxes();
    const box = boxes[this.#selected - 1];
    const changed = event.altKey ? resized(box, dx ? "e" : "s", dx, dy) : moved(box, dx, dy);
    this.#commit(withBox(boxes, this.#selected, changed));
  }

  /** Selects the next box; past the last one the keyboard leaves the drawing. */
  #selectNext(direction) {
    const numbers = this.#boxes().flatMap((box, i) => (box ? [i + 1] : []));
    const at = numbers.indexOf(this.#selected);
    const first = direction > 0 ? 0 : numbers.length - 1;
    this.#select(numbers[at < 0 ? first : at + direction] ?? null);
    return this.#selected !== null;
  }

  #select(number) {
    this.#selected = number;
    this.draw();
  }

  #hint(boxes, connected) {
    const pairs = boxes.flatMap((a, i) => boxes.slice(i + 1).map((b, j) => [i + 1, i + j + 2, a && b && overlap(a, b)]));
    const shared = pairs.find(([, , area]) => area);
    if (shared) return text("shared", { one: shared[0], other: shared[1] });
    const waiting = boxes.findIndex((box, i) => box && !connected.includes(i + 1));
    if (waiting >= 0) return text("waiting", { person: waiting + 1 });
    return this.#selected === null ? text("draw") : text("selected", { person: this.#selected });
  }

  #say(words, isError) {
    if (this.#note.textContent !== words) this.#note.textContent = words;
    this.#note.toggleAttribute("data-error", isError);
  }
}
