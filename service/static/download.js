// Files of what the page shows.
import { cellsInView, seriesInView } from "./csv.js";
import { picture } from "./picture.js";
import * as service from "./service.js";
import { state } from "./state.js";

const csv = (text) => new Blob([text], { type: "text/csv;charset=utf-8" });

/** What can be downloaded: the ending of its name, and a function that makes it. */
const FILES = {
  picture: ["map.png", picture],
  cells: ["map.csv", () => csv(cellsInView())],
  series: ["place.csv", () => csv(seriesInView())],
  netcdf: ["forecast.nc", () => service.netcdf(state.request)],
};

/** Make a file and hand it to the browser. */
export async function download(kind) {
  const [ending, make] = FILES[kind];
  const made = await make();
  const time = state.grid.times[state.lead].toISOString().slice(0, 16).replace(/[-:]/g, "");
  const address = URL.createObjectURL(made);
  const anchor = document.createElement("a");
  anchor.download = `${state.name}_${time}_${ending}`;
  anchor.href = address;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
