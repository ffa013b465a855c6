// The routes of /openapi.json as a page. Text is inserted as text nodes only; nothing is parsed as HTML.
function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** Text with `code` between backticks. */
function marked(tag, text) {
  return element(tag, "", ...text.split("`").map((piece, i) => (i % 2 ? element("code", piece) : piece)));
}

function parameters(list) {
  const table = element("table");
  for (const parameter of list) {
    const kinds = (parameter.schema.anyOf ?? [parameter.schema]).map((s) => s.type).filter((t) => t !== "null");
    table.append(element("tr", "",
      element("td", "", element("code", parameter.name)),
      element("td", `${parameter.in}, ${kinds.join(" or ")}${parameter.required ? ", required" : ""}`),
      marked("td", parameter.description ?? parameter.schema.description ?? "")));
  }
  return table;
}

function operation(method, path, facts) {
  const box = element("section", "", element("h2", "", element("code", `${method.toUpperCase()} ${path}`)));
  box.className = "operation";
  for (const paragraph of (facts.description ?? facts.summary ?? "").split("\n\n")) box.append(marked("p", paragraph));
  if (facts.parameters) box.append(parameters(facts.parameters));
  if (facts.requestBody) box.append(element("p", `Body: ${Object.keys(facts.requestBody.content).join(" or ")}`));
  const given = Object.keys(facts.responses["200"]?.content ?? {});
  if (given.length) box.append(element("p", `Answer: ${given.join(", ")}`));
  return box;
}

try {
  const answer = await fetch("/openapi.json");
  const found = await answer.json();
  document.querySelector("#about").replaceWith(
    Object.assign(marked("p", `${found.info.title} ${found.info.version}. ${found.info.description}`), { id: "about" }));
  const target = document.querySelector("#operations");
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, facts] of Object.entries(methods)) target.append(operation(method, path, facts));
  }
} catch (error) {
  document.querySelector("#status").textContent = `The list of routes cannot be loaded: ${error.message}`;
}
