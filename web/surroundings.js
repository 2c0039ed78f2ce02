/** What the region editor shows of the graph around its node: the picture's size, what lies behind, people's photos. */

import { lastOutput, photoOf, pictureSize, sourceOf } from "./graph.js";
import { connectedPeople, cropUrl, photoUrl } from "./people.js";

const LONG_SIDE = 1000;

export class Surroundings {
  /** Width and height of the picture, the longer one 1000. */
  size = { width: LONG_SIDE, height: LONG_SIDE };
  /** Numbers of the people whose faces are connected. */
  connected = [];
  /** Address of the picture behind, or null. */
  background = null;
  #node;
  #wires;
  #onLoad;
  #behind = null;
  #thumbnails = new Map();
  #seen = "";

  /** `onLoad` is called when the picture behind has loaded. */
  constructor(node, wires, onLoad) {
    this.#node = node;
    this.#wires = wires;
    this.#onLoad = onLoad;
  }

  /** Takes everything over as it is now; whether anything is new. */
  update() {
    const source = sourceOf(this.#wires, this.#node, "image");
    this.background = source ? photoOf(source) : null;
    this.size = this.#sizeNow();
    this.connected = connectedPeople(this.#wires, this.#node);
    this.#thumbnails = new Map(this.connected.map((number) => [number, this.#thumbnailNow(number)]));
    const seen = JSON.stringify([this.background, this.size, [...this.#thumbnails]]);
    const isNew = seen !== this.#seen;
    this.#seen = seen;
    return isNew;
  }

  /** Address of a person's crop, or of the photo before a run; null where there is none. */
  thumbnail(number) {
    return this.#thumbnails.get(number) ?? null;
  }

  #thumbnailNow(number) {
    const left = lastOutput(this.#node)?.dynamicid_people?.find((entry) => entry.person === number && entry.crop);
    return left ? cropUrl(left.id) : photoUrl(this.#wires, this.#node, number);
  }

  #sizeNow() {
    const { width, height } = this.#backgroundSize() ?? pictureSize(this.#wires, this.#node) ?? { width: 1, height: 1 };
    const unit = LONG_SIDE / Math.max(width, height);
    return { width: width * unit, height: height * unit };
  }

  /** Size of the picture behind, once it has loaded. */
  #backgroundSize() {
    const url = this.background;
    if (!url) return null;
    if (this.#behind?.src !== new URL(url, location.href).href) {
      this.#behind = new Image();
      this.#behind.addEventListener("load", () => this.#onLoad());
      this.#behind.src = url;
    }
    const { naturalWidth: width, naturalHeight: height } = this.#behind;
    return width && height ? { width, height } : null;
  }
}
