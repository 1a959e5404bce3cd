/** What the page shows, kept in its address so that it can be reloaded, shared and walked back. */

const PARAMETERS = ["q", "user", "mode", "category", "price_min", "price_max", "in_stock", "product"];
export const FILTERS = ["category", "price_min", "price_max", "in_stock"];
export const MODES = ["hybrid", "keyword", "semantic"];

/** @typedef {{q: string, user: string, mode: string, category: string, price_min: string, price_max: string, in_stock: string, product: string}} PageState */

/** @returns {PageState} What the address says; what it leaves out is "". */
export function fromAddress() {
  const query = new URLSearchParams(location.search);
  const state = Object.fromEntries(PARAMETERS.map((name) => [name, query.get(name) ?? ""]));
  if (!MODES.includes(state.mode)) state.mode = MODES[0];
  return state;
}

/**
 * Puts *state* into the address.
 *
 * @param {PageState} state
 * @param {boolean} push Whether "back" returns to what was there before.
 */
export function toAddress(state, push) {
  const query = new URLSearchParams();
  for (const name of PARAMETERS) {
    if (state[name] && !(name === "mode" && state.mode === MODES[0])) query.set(name, state[name]);
  }
  const address = query.size ? `?${query}` : location.pathname;
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
