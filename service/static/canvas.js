// Canvases in CSS pixels, at the resolution of the screen, in the colors of the style sheet.
const FONT = '13px system-ui, "DejaVu Sans", sans-serif';
const SMALL = '11px system-ui, "DejaVu Sans", sans-serif';

/** A color of the style sheet in the form that a canvas needs, resolved for light or dark mode. */
export function styled(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Empty a canvas; returns its context, size and scale. Without a height it has that of the style sheet. */
export function prepare(canvas, wanted = null) {
  const width = canvas.clientWidth || canvas.parentElement.clientWidth;
  const scale = window.devicePixelRatio || 1;
  if (wanted) canvas.style.height = `${wanted}px`;
  const height = wanted ?? canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = FONT;
  context.lineWidth = 1;
  return { context, width, height, scale };
}

/** Text with a bright edge, legible on any color: its box, and a function that draws it. */
export function plate(context, text, x, y, { align = "left", small = false, color = "#111", edge = "#fff" } = {}) {
  const font = small ? SMALL : FONT;
  context.font = font;
  const width = context.measureText(text).width + 4;
  const height = 16;
  const left = { left: x - 2, center: x - width / 2, right: x - width + 2 }[align];
  const draw = () => {
    context.save();
    Object.assign(context, { font, textAlign: "left", textBaseline: "middle", lineJoin: "round", lineWidth: 3.5 });
    context.strokeStyle = edge;
    context.strokeText(text, left + 2, y);
    context.fillStyle = color;
    context.fillText(text, left + 2, y);
    context.restore();
  };
  return { left, top: y - height / 2, width, height, draw };
}

/** Text near a point, moved as far as needed to be whole inside of a width. */
export function wholeText(context, text, x, y, width) {
  const half = context.measureText(text).width / 2 + 1;
  context.textAlign = "center";
  context.fillText(text, Math.min(Math.max(x, half), width - half), y);
}
