// The part of the plane that a map shows: the area of the grid fitted into the canvas, then zoomed and moved.

const MOST_PIXELS_PER_CELL = 160;
const MARGIN = 12;

/** Coordinates to pixels and back.
 *
 * At zoom 1 the whole grid is in the canvas. `transform` is that of d3-zoom: pixel = zoom * fitted pixel + shift. */
export class View {
  constructor(columns, rows, geographic) {
    Object.assign(this, { columns, rows, geographic, transform: { k: 1, x: 0, y: 0 } });
    // A map of the whole globe has Greenwich in its middle.
    this.middle = [columns.closed ? 0 : (columns.low + columns.high) / 2, (rows.low + rows.high) / 2];
    this.fit(100, 100);
  }

  /** Width over height of the area that the grid covers, as it is drawn. */
  get aspect() {
    return ((this.columns.high - this.columns.low) * this.scale[0]) / ((this.rows.high - this.rows.low) * this.scale[1]);
  }

  /** Take over the size of the canvas; the center of the view and its zoom stay. */
  fit(width, height) {
    const center = this.width ? this.center : this.middle;
    const wide = this.columns.high - this.columns.low;
    const tall = this.rows.high - this.rows.low;
    const shrunk = this.geographic ? Math.max(Math.cos((this.middle[1] * Math.PI) / 180), 0.2) : 1;
    const room = [Math.max(width - 2 * MARGIN, 20), Math.max(height - 2 * MARGIN, 20)];
    const even = Math.min(room[0] / (wide * shrunk), room[1] / tall);
    const apart = this.geographic ? 1 : (room[0] / wide) / (room[1] / tall);
    const stretched = apart > 4 || apart < 0.25; // axes of different units, or a strip of cells
    this.scale = stretched ? [room[0] / wide, room[1] / tall] : [even * shrunk, even];
    Object.assign(this, { width, height });
    this.look(center, this.transform.k);
  }

  /** The coordinates in the middle of the canvas. */
  get center() { return [this.x(this.width / 2), this.y(this.height / 2)]; }

  /** Move to a center and a zoom; returns the transform. */
  look([x, y], zoom) {
    const k = Math.min(Math.max(zoom, this.zooms[0]), this.zooms[1]);
    const [low, high] = this.verticalBounds;
    const half = this.height / 2 / (this.scale[1] * k);
    const held = high - low <= 2 * half ? (low + high) / 2 : Math.min(Math.max(y, low + half), high - half);
    this.transform = { k, x: this.width / 2 - k * this.fittedX(x), y: this.height / 2 - k * this.fittedY(held) };
    return this.transform;
  }

  /** The smallest zoom shows the globe, the largest a few cells. */
  get zooms() {
    const cell = this.scale[0] * ((this.columns.high - this.columns.low) / this.columns.size);
    const all = this.geographic ? this.width / (360 * this.scale[0]) : 0.5;
    return [Math.min(1, all), Math.max(4, MOST_PIXELS_PER_CELL / cell)];
  }

  /** How far the view may move up and down. */
  get verticalBounds() {
    const room = (this.rows.high - this.rows.low) * 0.5;
    return this.geographic ? [-90, 90] : [this.rows.low - room, this.rows.high + room];
  }

  /** The box of fitted pixels that d3-zoom keeps the view in; east and west are free on the globe. */
  get limits() {
    const room = this.geographic ? Infinity : (this.columns.high - this.columns.low) * 0.5;
    const [low, high] = this.verticalBounds;
    return [[this.fittedX(this.columns.low - room), this.fittedY(high)],
      [this.fittedX(this.columns.high + room), this.fittedY(low)]];
  }

  fittedX(x) { return this.width / 2 + (x - this.middle[0]) * this.scale[0]; }

  fittedY(y) { return this.height / 2 - (y - this.middle[1]) * this.scale[1]; }

  px(x) { return this.transform.x + this.transform.k * this.fittedX(x); }

  py(y) { return this.transform.y + this.transform.k * this.fittedY(y); }

  x(pixel) { return this.middle[0] + ((pixel - this.transform.x) / this.transform.k - this.width / 2) / this.scale[0]; }

  y(pixel) { return this.middle[1] - ((pixel - this.transform.y) / this.transform.k - this.height / 2) / this.scale[1]; }

  /** The stretch of x in the canvas; on the globe no more than once around, so that no place is there twice. */
  get stretch() {
    const [left, right] = [this.x(0), this.x(this.width)];
    const [x] = this.center;
    return this.geographic ? [Math.max(left, x - 180), Math.min(right, x + 180)] : [left, right];
  }

  /** Turns of 360 degrees after which a stretch of longitudes is in the canvas: [0] on a plane. */
  turns(low, high) {
    const [left, right] = this.stretch;
    if (!this.geographic) return low <= right && high >= left ? [0] : [];
    const found = [];
    for (let turn = Math.ceil((left - high) / 360); low + 360 * turn <= right; turn += 1) found.push(360 * turn);
    return found;
  }
}
