// Asking the server; an error is said in its own words.
export const COVERAGE = "application/prs.coverage+json";
const key = () => document.getElementById("key");

/** The JSON of an answer. */
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key().value) headers["X-API-Key"] = key().value;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    document.getElementById("key-label").hidden = false;
    key().focus();
  }
  throw new Error(problem.detail ?? `The server answered ${answer.status}.`);
}

const named = (model) => `model=${encodeURIComponent(model)}`;
const asCoverage = { headers: { Accept: COVERAGE } };

export const models = () => ask("/v1/models");
export const describe = (model) => ask(`/v1/models/${encodeURIComponent(model)}`);
export const latest = (model) => ask(`/v1/forecasts/latest?${named(model)}`, asCoverage);
export const list = (model) => ask(`/v1/forecasts?${named(model)}`);
export const stored = (model, name) => ask(`/v1/forecasts/${name}?${named(model)}`, asCoverage);
export const truth = (model, name) => ask(`/v1/forecasts/${name}/truth?${named(model)}`, asCoverage);
export const verification = (model) => ask(`/v1/verification?${named(model)}`);
export const upload = (model, file) => ask(`/v1/forecasts?${named(model)}`, {
  method: "POST",
  body: file,
  headers: { Accept: COVERAGE, "Content-Type": "application/x-netcdf" },
});
