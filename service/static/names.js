// Names of countries and towns on a map, as many as fit without touching each other.
import { plate } from "./canvas.js";

const TOWNS_BELOW_DEGREES = 130;
const APART = 26;
const AT_MOST = 45;
const BUTTONS = [52, 140]; // width and height of the corner with the buttons

/** Write the names of what is in view; no name is cut or lies on another one. */
export function drawNames(context, view, { places, labels }, taken) {
  const boxes = [...taken, { left: view.width - BUTTONS[0], top: 0, width: BUTTONS[0], height: BUTTONS[1] }];
  const whole = (box) => box.left >= 2 && box.top >= 2 && box.left + box.width <= view.width - 2 &&
    box.top + box.height <= view.height - 2;
  const degree = view.px(1) - view.px(0);
  let count = 0;
  const write = (name, x, y, style) => {
    const box = plate(context, name, x, y, style);
    if (!whole(box) || boxes.some((other) => touches(grown(box), other))) return false;
    boxes.push(box);
    box.draw();
    count += 1;
    return true;
  };
  for (const label of labels) {
    const room = label.size * degree;
    if (room < 28) break;
    for (const turn of view.turns(label.longitude, label.longitude)) {
      const [x, y] = [view.px(label.longitude + turn), view.py(label.latitude)];
      if (inside(view, x, y) && context.measureText(label.name).width < room * 1.9) {
        write(label.name.toUpperCase(), x, y, { small: true, align: "center" });
      }
    }
  }
  if (view.x(view.width) - view.x(0) > TOWNS_BELOW_DEGREES) return;
  for (const place of places) {
    if (count >= AT_MOST) break;
    for (const turn of view.turns(place.longitude, place.longitude)) {
      const [x, y] = [view.px(place.longitude + turn), view.py(place.latitude)];
      if (!inside(view, x, y)) continue;
      if (write(place.name, x + 6, y, { align: "left" }) || write(place.name, x - 6, y, { align: "right" })) dot(context, x, y);
    }
  }
}

const inside = (view, x, y) => x > 0 && y > 0 && x < view.width && y < view.height;
const grown = (box) => ({ left: box.left - APART / 2, top: box.top - 3, width: box.width + APART, height: box.height + 6 });
const touches = (a, b) => a.left < b.left + b.width && b.left < a.left + a.width &&
  a.top < b.top + b.height && b.top < a.top + a.height;

function dot(context, x, y) {
  context.beginPath();
  context.arc(x, y, 2.6, 0, 2 * Math.PI);
  context.fillStyle = "#111";
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5;
  context.stroke();
  context.fill();
}
