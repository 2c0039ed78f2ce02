/** The places of up to eight people as data, without any drawing: what `boxes` holds, and its history. */

import { MAX_PEOPLE } from "./people.js";

export const SMALLEST = 0.02;
const HISTORY = 100;

/** Text of the `boxes` input -> one [x, y, width, height] or null a person; null for text that is no such list. */
export function parse(text) {
  let entries;
  try {
    entries = text.trim() ? JSON.parse(text) : [];
  } catch {
    return null;
  }
  if (!Array.isArray(entries) || entries.length > MAX_PEOPLE) return null;
  const boxes = entries.map(numbers);
  if (!boxes.every((box) => box === null || isBox(box))) return null;
  return boxes.map((box) => (box && box[2] > 0 && box[3] > 0 ? box : null));
}

/** The text for the `boxes` input: four decimals, nothing for people after the last box. */
export function format(boxes) {
  const kept = boxes.slice(0, boxes.findLastIndex(Boolean) + 1);
  return JSON.stringify(kept.map((box) => box && box.map((value) => Math.round(value * 1e4) / 1e4)));
}

/** The box moved by shares of the picture, held inside it. */
export function moved([x, y, width, height], dx, dy) {
  return [clamp(x + dx, 0, 1 - width), clamp(y + dy, 0, 1 - height), width, height];
}

/** The box with some edges moved; `edges` is made of the letters n, s, w and e. */
export function resized([x, y, width, height], edges, dx, dy) {
  let [left, top, right, bottom] = [x, y, x + width, y + height];
  if (edges.includes("w")) left = clamp(left + dx, 0, right - SMALLEST);
  if (edges.includes("e")) right = clamp(right + dx, left + SMALLEST, 1);
  if (edges.includes("n")) top = clamp(top + dy, 0, bottom - SMALLEST);
  if (edges.includes("s")) bottom = clamp(bottom + dy, top + SMALLEST, 1);
  return [left, top, right - left, bottom - top];
}

/** The box between two points, held inside the picture. */
export function between([x0, y0], [x1, y1]) {
  const [left, right] = [x0, x1].map((x) => clamp(x, 0, 1)).sort((a, b) => a - b);
  const [top, bottom] = [y0, y1].map((y) => clamp(y, 0, 1)).sort((a, b) => a - b);
  return [left, top, right - left, bottom - top];
}

/** Where two boxes overlap, or null. */
export function overlap(a, b) {
  const [left, top] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const [right, bottom] = [Math.min(a[0] + a[2], b[0] + b[2]), Math.min(a[1] + a[3], b[1] + b[3])];
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

/** Boxes where person `number` (from 1) has `box`; null takes theirs away. */
export function withBox(boxes, number, box) {
  const result = Array.from({ length: Math.max(boxes.length, number) }, (_, i) => boxes[i] ?? null);
  result[number - 1] = box;
  return result;
}

/** Boxes where two people (numbers from 1) have changed places. */
export function swapped(boxes, one, other) {
  return withBox(withBox(boxes, one, boxes[other - 1] ?? null), other, boxes[one - 1] ?? null);
}

/** Who gets the next box: the first connected person without one, else the first number without one, else null. */
export function nextPerson(boxes, connected) {
  const everybody = Array.from({ length: MAX_PEOPLE }, (_, i) => i + 1);
  return [...connected, ...everybody].find((number) => !boxes[number - 1]) ?? null;
}

/** The places that connected people without a box get: number -> equal vertical slices, left to right. */
export function automaticPlaces(boxes, connected) {
  const without = connected.filter((number) => !boxes[number - 1]);
  return new Map(without.map((number, i) => [number, [i / without.length, 0, 1 / without.length, 1]]));
}

/** Texts that `boxes` has held, for undo and redo. */
export class History {
  #past = [];
  #future = [];

  /** Notes the text that is about to be replaced. */
  push(text) {
    this.#past = [...this.#past, text].slice(-HISTORY);
    this.#future = [];
  }

  /** Whether there is something to undo. */
  get canUndo() {
    return this.#past.length > 0;
  }

  /** Whether there is something to redo. */
  get canRedo() {
    return this.#future.length > 0;
  }

  /** The text before, given the one of now; null at the beginning. */
  undo(now) {
    return this.#step(this.#past, this.#future, now);
  }

  /** The text that was undone last; null if there is none. */
  redo(now) {
    return this.#step(this.#future, this.#past, now);
  }

  #step(from, to, now) {
    if (!from.length) return null;
    to.push(now);
    return from.pop();
  }
}

function numbers(entry) {
  if (entry === null) return null;
  return Array.isArray(entry) ? [...entry] : [entry.x, entry.y, entry.width, entry.height];
}

function isBox(box) {
  return box.length === 4 && box.every((value) => Number.isFinite(value) && value >= 0 && value <= 1);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}
