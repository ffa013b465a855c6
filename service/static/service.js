// Requests to the server; an error shows the server's message.
import { isGregorian } from "./moments.js";

export const COVERAGE = "application/prs.coverage+json";
const key = () => document.getElementById("key");

/** Parse the JSON of an answer. */
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
const form = (calendar) => ({ Accept: isGregorian(calendar) ? COVERAGE : "application/json" });

export const models = () => ask("/v1/models");
export const describe = (model) => ask(`/v1/models/${encodeURIComponent(model)}`);
export const latest = (model, calendar) => ask(`/v1/forecasts/latest?${named(model)}`, { headers: form(calendar) });
export const list = (model) => ask(`/v1/forecasts?${named(model)}`);
export const stored = (model, name, calendar) => (
  ask(`/v1/forecasts/${name}?${named(model)}`, { headers: form(calendar) }));
export const truth = (model, name, calendar) => (
  ask(`/v1/forecasts/${name}/truth?${named(model)}`, { headers: form(calendar) }));
export const verification = (model) => ask(`/v1/verification?${named(model)}`);
export const upload = (model, file, calendar) => ask(`/v1/forecasts?${named(model)}`, {
  method: "POST",
  body: file,
  headers: { ...form(calendar), "Content-Type": "application/x-netcdf" },
});
