/**
 * Makes a DOM element. Children that are not elements become text, so nothing a server says is ever read as markup.
 *
 * @param {string} tag Tag name, with classes: "p.note.quiet".
 * @param {Object<string, any>} [properties] Properties (`onclick`, `value`), attributes (`aria-*`, `role`, `for`...),
 *   `data` for data-* attributes and `style` for CSS properties. null, undefined and false are left out.
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "data") Object.assign(made.dataset, value);
    else if (key === "style")
      for (const [property, text] of Object.entries(value)) made.style.setProperty(property, text);
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter(isShown));
  return made;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}
