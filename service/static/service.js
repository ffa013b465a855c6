// Requests to the server; an error is a sentence for the reader of the page.
import { isGregorian } from "./moments.js";

export const COVERAGE = "application/prs.coverage+json";
const NETCDF = "application/x-netcdf";
const key = () => document.getElementById("key");

/** The answer to a request; throws an Error with the server's words, or plainer ones. */
async function answerTo({ path, method = "GET", body, headers = {} }, accept) {
  const all = { ...headers, Accept: accept, ...(key().value ? { "X-API-Key": key().value } : {}) };
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: all });
  } catch {
    throw new Error("The server does not answer. Check your connection, or try again in a minute.");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(words(answer, problem));
}

function words(answer, problem) {
  if (answer.status === 401) {
    document.getElementById("key-label").hidden = false;
    key().focus();
    return key().value ? "The server does not know this API key. Check it, or ask the operator of the server for another one."
      : "This server asks for an API key. Type yours into the field at the top; the operator of the server gives you one.";
  }
  if (answer.status === 429 || answer.status === 503) {
    const seconds = Number(answer.headers.get("Retry-After")) || 10;
    return `The server is busy at the moment. Try again in ${seconds} second${seconds === 1 ? "" : "s"}. (${problem.detail ?? answer.status})`;
  }
  return problem.detail ?? `The server could not do this (error ${answer.status}). Try again, or tell the operator of the server.`;
}

const json = async (path) => (await answerTo({ path }, "application/json")).json();
const named = (model) => `model=${encodeURIComponent(model)}`;

export const models = () => json("/v1/models");
export const describe = (model) => json(`/v1/models/${encodeURIComponent(model)}`);
export const list = (model) => json(`/v1/forecasts?${named(model)}`);
export const verification = (model) => json(`/v1/verification?${named(model)}`);

/** Requests for fields, which `fields` and `netcdf` send. */
export const latest = (model) => ({ path: `/v1/forecasts/latest?${named(model)}` });
export const stored = (model, name) => ({ path: `/v1/forecasts/${name}?${named(model)}` });
export const truth = (model, name) => ({ path: `/v1/forecasts/${name}/truth?${named(model)}` });
export const upload = (model, file) => (
  { path: `/v1/forecasts?${named(model)}`, method: "POST", body: file, headers: { "Content-Type": NETCDF } });

/** The fields as the JSON that supports the calendar. */
export const fields = async (request, calendar) => (
  await answerTo(request, isGregorian(calendar) ? COVERAGE : "application/json")).json();

/** The same fields as a NetCDF file. */
export const netcdf = async (request) => (await answerTo(request, NETCDF)).blob();
