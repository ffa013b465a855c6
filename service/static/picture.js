// The maps with their title and scale as one picture.
import { styled } from "./canvas.js";
import { at } from "./page.js";

const EDGE = 16;
const LINE = 20;

/** A PNG of the maps as they are on the page. */
export function picture() {
  const maps = [["Forecast", at("map")], ["Observed", at("truth")]].slice(0, at("truth-pane").hidden ? 1 : 2);
  const [wide, tall] = [at("map").clientWidth, at("map").clientHeight];
  const [legendWide, legendTall] = [at("legend").clientWidth, at("legend").clientHeight];
  const beside = wide * maps.length + EDGE * (maps.length - 1);
  const width = Math.max(beside, legendWide, 480) + 2 * EDGE;
  const height = EDGE + 4 * LINE + tall + EDGE + LINE + legendTall + LINE + EDGE;
  const scale = window.devicePixelRatio || 1;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = styled("ground");
  context.fillRect(0, 0, width, height);
  context.fillStyle = styled("ink");
  context.textBaseline = "top";
  const write = (text, y, font) => {
    context.font = `${font} system-ui, "DejaVu Sans", sans-serif`;
    context.fillText(text, EDGE, y, width - 2 * EDGE);
  };
  write(at("title").textContent, EDGE, "600 16px");
  write([at("local").textContent, at("times").textContent].filter(Boolean).join(" · "), EDGE + LINE, "13px");
  const top = EDGE + 4 * LINE - 8;
  maps.forEach(([name, map], i) => {
    const left = EDGE + i * (wide + EDGE);
    context.font = '600 13px system-ui, "DejaVu Sans", sans-serif';
    context.fillText(name, left, top - LINE);
    context.drawImage(map, left, top, wide, tall);
  });
  const below = top + tall + 8;
  write(at("legend-title").textContent, below, "13px");
  context.drawImage(at("legend"), EDGE, below + LINE, legendWide, legendTall);
  write(`${at("origin").textContent} ${at("credit").textContent}`, below + LINE + legendTall + 4, "11px");
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}
