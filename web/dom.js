/** Making elements, and putting them on nodes. */

const SVG = "http://www.w3.org/2000/svg";

/** A new SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A new HTML element with attributes and children. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** A button that never takes the keyboard from the drawing, with a tooltip. */
export function button(label, title, onClick) {
  const element = html("button", { type: "button", title }, label);
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    event.stopPropagation();
  });
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    onClick();
  });
  return element;
}

/** Puts an element on a node as a widget that takes all the room there is, `minHeight` at least. */
export function drawingWidget(node, name, type, element, minHeight, options = {}) {
  const drawing = { getMinHeight: () => minHeight, hideOnZoom: false, ...options };
  const widget = node.addDOMWidget(name, type, element, drawing);
  // The page's properties panel sets its own width on the widget and leaves it there.
  Object.defineProperty(widget, "width", { get: () => undefined, set: () => {}, configurable: true });
  return widget;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
