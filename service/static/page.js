// The elements of the page by name, and its line of messages.

export const at = (id) => document.getElementById(id);

/** Say something below the choice of the forecast; a fault is said at once by a screen reader. */
export function say(text, fault = false) {
  at("status").textContent = text;
  at("status").classList.toggle("fault", fault);
}

/** The action, with errors said on the page. */
export const guarded = (action) => async (...given) => {
  try {
    return await action(...given);
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
};

/** A function that runs an action once before the next picture, however often it is called. */
export function beforePaint(action) {
  let waiting = 0;
  return () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(action);
  };
}

/** A row of a table; cells are texts or lists of elements, and from the third on are numbers. */
export function tableRow(cells, tag, firstNumber = 2) {
  const row = document.createElement("tr");
  cells.forEach((content, i) => {
    const cell = document.createElement(tag);
    cell.append(...[content].flat());
    if (tag === "th") cell.scope = "col";
    else if (i >= firstNumber) cell.className = "number";
    row.append(cell);
  });
  return row;
}
