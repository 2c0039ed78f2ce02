/** The widgets' words in the page's language, from `locales/<language>/main.json`. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const FALLBACK = "en";
let words = {};

/** Fetches the words once, before any node is made. */
export async function loadStrings() {
  const response = await api.fetchApi("/i18n");
  const all = response.ok ? await response.json() : {};
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? FALLBACK;
  words = { ...all[FALLBACK]?.dynamicid, ...all[language]?.dynamicid };
}

/** The text for `key`, with `{name}` replaced by `values.name`; the key itself where there is none. */
export function text(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
