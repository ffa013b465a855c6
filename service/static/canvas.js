// Canvases in CSS pixels, at the resolution of the screen, in the colors of the style sheet.
const FONT = '13px system-ui, "DejaVu Sans", sans-serif';

/** A color of the style sheet in the form that a canvas needs, resolved for light or dark mode. */
export function styled(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Set the height of a canvas; returns its context, width and scale. */
export function prepare(canvas, height) {
  const width = canvas.clientWidth || canvas.parentElement.clientWidth;
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = FONT;
  context.lineWidth = 1;
  return { context, width, scale };
}
