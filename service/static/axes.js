// The axes of a grid: edges of cells, and the cell of a coordinate; ranks count upward, whatever the order of the answer.

/** Eastward longitudes without a jump, so that a grid across Greenwich or the date line stays in one piece. */
export function unwrapped(longitudes) {
  let before = longitudes[0];
  return longitudes.map((value) => {
    before = value - 360 * Math.round((value - before) / 360);
    return before;
  });
}

/** Edges of cells halfway between their centers, ascending. */
function edgesOf(centers) {
  if (centers.length < 2) return [centers[0] - 0.5, centers[0] + 0.5];
  const inner = centers.slice(1).map((value, i) => (value + centers[i]) / 2);
  return [centers[0] - (inner[0] - centers[0]), ...inner, centers.at(-1) + (centers.at(-1) - inner.at(-1))];
}

/** The number of entries of an ascending list that are not above a value. */
function countBelow(list, value) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One axis of a grid.
 *
 * `centers` and `edges` ascend; `indices[rank]` is the place of a center in the answer. An axis of longitudes turns:
 * coordinates are the same 360 degrees further, and `closed` tells whether its cells go all around the globe. */
export class Axis {
  constructor(values, { turns = false, bounds = [-Infinity, Infinity] } = {}) {
    const plain = turns ? unwrapped(values) : values;
    this.indices = plain.map((_, i) => i).sort((a, b) => plain[a] - plain[b]);
    this.centers = this.indices.map((i) => plain[i]);
    this.edges = edgesOf(this.centers).map((edge) => Math.min(Math.max(edge, bounds[0]), bounds[1]));
    this.turns = turns;
    const width = this.high - this.low;
    this.closed = turns && Math.abs(width - 360) < 0.5 * (width / this.size);
  }

  get size() { return this.centers.length; }

  get low() { return this.edges[0]; }

  get high() { return this.edges.at(-1); }

  /** The same coordinate within one turn from the lowest edge. */
  inside(value) {
    return this.turns ? value - 360 * Math.floor((value - this.low) / 360 + 1e-12) : value;
  }

  /** The rank of the cell with a coordinate, -1 outside. */
  rank(value) {
    const turned = this.inside(value);
    if (this.closed) return Math.min(countBelow(this.edges, turned) - 1, this.size - 1);
    if (turned < this.low || turned > this.high) return -1;
    return Math.min(countBelow(this.edges, turned) - 1, this.size - 1);
  }

  /** The ranks of the two centers around a coordinate, and the share of the upper one. */
  neighbors(value) {
    const turned = this.inside(value);
    const upper = countBelow(this.centers, turned);
    if (upper > 0 && upper < this.size) {
      const [a, b] = [this.centers[upper - 1], this.centers[upper]];
      return [upper - 1, upper, (turned - a) / (b - a)];
    }
    if (!this.closed) return upper ? [this.size - 1, this.size - 1, 0] : [0, 0, 0];
    const gap = this.centers[0] + 360 - this.centers.at(-1);
    const past = turned - this.centers.at(-1) + (upper ? 0 : 360);
    return [this.size - 1, 0, past / gap];
  }
}
