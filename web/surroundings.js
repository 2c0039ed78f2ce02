/** What the region editor shows of the graph around its node: the picture's size, what lies behind, people's photos. */

import { photoOf, pictureSize, sourceOf } from "./graph.js";
import { connectedPeople, cropUrl, photoUrl } from "./people.js";

const LONG_SIDE = 1000;
const LOOK_MS = 500;

export class Surroundings {
  /** Width and height of the picture, the longer one 1000. */
  size = { width: LONG_SIDE, height: LONG_SIDE };
  #node;
  #onChange;
  #behind = null;
  #crops = new Map();
  #later = null;
  #photos = "";

  /** `onChange` is called when `look` finds something new and when the picture behind has loaded. */
  constructor(node, onChange) {
    this.#node = node;
    this.#onChange = onChange;
  }

  /** Takes everything over as it is now. */
  update() {
    this.size = this.#sizeNow();
    this.#photos = this.#photosNow();
  }

  /** Looks for changes elsewhere in the graph: the latent's size, the picture behind, the people's photos. */
  look() {
    clearTimeout(this.#later);
    this.#later = null;
    const { width, height } = this.#sizeNow();
    const isNew = width !== this.size.width || height !== this.size.height || this.#photosNow() !== this.#photos;
    if (isNew) this.#onChange();
  }

  /** Looks in a moment; however often this is called until then, once. */
  lookSoon() {
    this.#later ??= setTimeout(() => this.look(), LOOK_MS);
  }

  /** Keeps the crops that a run has left: {person, id, crop}. */
  takeCrops(people) {
    this.#crops = new Map(people.filter((entry) => entry.crop).map((entry) => [entry.person, cropUrl(entry.id)]));
  }

  /** Address of a person's crop, or of the photo before a run; null where there is none. */
  thumbnail(number) {
    return this.#crops.get(number) ?? photoUrl(this.#node, number);
  }

  /** Address of the picture behind, or null. */
  get background() {
    const source = sourceOf(this.#node, "image");
    return source ? photoOf(source) : null;
  }

  #sizeNow() {
    const { width, height } = this.#backgroundSize() ?? pictureSize(this.#node) ?? { width: 1, height: 1 };
    const unit = LONG_SIDE / Math.max(width, height);
    return { width: width * unit, height: height * unit };
  }

  /** Size of the picture behind, once it has loaded. */
  #backgroundSize() {
    const url = this.background;
    if (!url) return null;
    if (this.#behind?.src !== new URL(url, location.href).href) {
      this.#behind = new Image();
      this.#behind.addEventListener("load", () => this.#onChange());
      this.#behind.src = url;
    }
    const { naturalWidth: width, naturalHeight: height } = this.#behind;
    return width && height ? { width, height } : null;
  }

  /** Addresses of all pictures in the drawing. */
  #photosNow() {
    return [this.background, ...connectedPeople(this.#node).map((number) => photoUrl(this.#node, number))].join();
  }
}
