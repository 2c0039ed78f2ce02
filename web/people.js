/** People on the canvas: their colours, and their pictures before and after a run. */

import { api } from "../../scripts/api.js";
import { photoOf, sourceOf } from "./graph.js";

export const MAX_PEOPLE = 8;

/** Colour of person 1 to 8, the same as in the pack's pictures (`dynamicid/faces/colours.py`). */
export const PERSON_COLOURS = [
  "rgb(230, 159, 0)",
  "rgb(86, 180, 233)",
  "rgb(0, 158, 115)",
  "rgb(240, 228, 66)",
  "rgb(58, 116, 220)",
  "rgb(213, 94, 0)",
  "rgb(204, 121, 167)",
  "rgb(170, 170, 170)",
];

/** Address of the crop that the server keeps under `id`. */
export function cropUrl(id) {
  return api.apiURL(`/dynamicid/people/${encodeURIComponent(id)}`);
}

/** Numbers (from 1) of the people whose `face_n` input is connected. */
export function connectedPeople(wires, node) {
  const everybody = Array.from({ length: MAX_PEOPLE }, (_, i) => i + 1);
  return everybody.filter((number) => sourceOf(wires, node, `face_${number}`));
}

/** Address of the photo that person `number` comes from, found along the wires; null where none is in sight. */
export function photoUrl(wires, node, number) {
  const source = sourceOf(wires, node, `face_${number}`);
  return source ? photoOf(source) : null;
}
