// The service's own JSON, converted to a CoverageJSON Grid: unlike CoverageJSON it supports every calendar.

/** The dimension of the leads, whose name depends on those of the variables. */
const leadOf = (document) => Object.entries(document.coordinates)
  .find(([name, c]) => c.attributes.standard_name === "forecast_period" && c.dimensions[0] === name)[0];

const axisOf = (document, dims, units, standard, place) => {
  const coordinates = Object.entries(document.coordinates).filter(([, c]) => c.dimensions.length === 1);
  const found = coordinates.find(([, c]) => units.test(c.attributes.units ?? "")) ??
    coordinates.find(([, c]) => c.attributes.standard_name === standard);
  const dim = found ? found[1].dimensions[0] : dims.filter((name) => name !== leadOf(document))[place];
  return { dim, values: document.coordinates[dim]?.values };
};

function sizesOf({ dimensions, values }) {
  const sizes = {};
  let level = values;
  for (const dim of dimensions) {
    sizes[dim] = level.length;
    level = level[0];
  }
  return sizes;
}

function flat({ dimensions, values }, order) {
  const sizes = sizesOf({ dimensions, values });
  const found = [];
  const walk = (rest, at) => {
    if (rest.length) {
      for (let i = 0; i < sizes[rest[0]]; i += 1) walk(rest.slice(1), { ...at, [rest[0]]: i });
    } else found.push(dimensions.reduce((inner, dim) => inner[at[dim] ?? 0], values));
  };
  walk(order, {});
  return found;
}

/** Axes, parameters and ranges of a forecast in `application/json`. */
export function asCoverage(document) {
  const lead = leadOf(document);
  const fields = Object.entries(document.variables).filter(([, field]) => field.dimensions.includes(lead));
  const [, first] = fields[0];
  const y = axisOf(document, first.dimensions, /^degrees?_?n/i, "projection_y_coordinate", 0);
  const x = axisOf(document, first.dimensions, /^degrees?_?e/i, "projection_x_coordinate", 1);
  const numbered = (axis) => axis.values ?? Array.from({ length: sizesOf(first)[axis.dim] }, (_, i) => i);
  const named = Object.entries(document.coordinates);
  const [, times] = named.find(([name, c]) => name !== lead && c.dimensions.length === 1 && c.dimensions[0] === lead);
  const [, reference] = named.find(([, c]) =>
    !c.dimensions.length && c.attributes.standard_name === "forecast_reference_time");
  const said = Object.entries(document.attributes).map(([name, value]) => [`stconv:${name}`, value]);
  return {
    ...Object.fromEntries(said),
    "stconv:reference_time": reference.values,
    domain: {
      axes: { x: { values: numbered(x) }, y: { values: numbered(y) }, t: { values: times.values } },
      referencing: [{ coordinates: ["x", "y"], system: { type: /^degrees?_?n/i.test(
        document.coordinates[y.dim]?.attributes.units ?? "") ? "GeographicCRS" : "ProjectedCRS" } }],
    },
    parameters: Object.fromEntries(fields.map(([name, { attributes }]) => [name, {
      observedProperty: { label: { en: attributes.long_name ?? name } },
      unit: { symbol: { value: attributes.units ?? "" } },
    }])),
    ranges: Object.fromEntries(fields.map(([name, found]) => [name, { values: flat(found, [lead, y.dim, x.dim]) }])),
  };
}
