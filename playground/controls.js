import { element } from "./element.js";
import { FILTERS } from "./page-state.js";

const TYPING_PAUSE_MS = 140;

/** The search box, the mode and the filters: one form, whose changes are reported as they are made. */
export class Controls {
  #form;
  #examples;
  #categories = new Set();
  #pause = null;
  #wantsExamples = false;
  #onChange;

  /**
   * @param {HTMLFormElement} form
   * @param {(changes: object, done: boolean) => void} onChange Changed fields of the page's state; *done* when it was
   *   a deliberate step rather than a key stroke.
   */
  constructor(form, onChange) {
    this.#form = form;
    this.#onChange = onChange;
    this.#examples = form.querySelector("#examples");
    form.addEventListener("input", ({ target }) => this.#later(target));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#now(true);
    });
    form.querySelector("#clear-filters").addEventListener("click", () => {
      for (const name of FILTERS) this.#field(name).value = "";
      this.#now(true);
    });
    document.addEventListener("keydown", (event) => this.#shortcut(event));
    document.addEventListener("pointerdown", ({ target }) => {
      const filters = form.querySelector("#filters");
      if (!filters.contains(target)) filters.open = false;
    });
  }

  /** Shows *state*; what is being typed is left alone. */
  show(state) {
    for (const name of ["q", ...FILTERS]) {
      const field = this.#field(name);
      if (field.value.trim() !== state[name]) field.value = state[name];
    }
    this.#form.elements.mode.value = state.mode;
    const active = FILTERS.filter((name) => state[name]).length;
    const count = this.#form.querySelector(".filters .count");
    count.textContent = String(active);
    count.hidden = active === 0;
  }

  /** Offers the categories of *hits* to the category filter. */
  learn(hits) {
    for (const { product } of hits) if (product?.category) this.#categories.add(product.category);
    const options = [...this.#categories].sort().map((value) => element("option", { value }));
    this.#form.querySelector("#categories").replaceChildren(...options);
  }

  /** Queries to try; shown while nothing is being searched for. */
  set examples(queries) {
    const buttons = queries.map((q) =>
      element("button.chip", { type: "button", onclick: () => this.#onChange({ q }, true) }, q),
    );
    this.#examples.replaceChildren("Try ", ...buttons);
    this.#layExamples();
  }

  /** Whether examples are wanted now. */
  set offersExamples(wanted) {
    this.#wantsExamples = wanted;
    this.#layExamples();
  }

  #layExamples() {
    this.#examples.hidden = !this.#wantsExamples || this.#examples.children.length === 0;
  }

  #field(name) {
    return this.#form.elements[name];
  }

  #later(target) {
    clearTimeout(this.#pause);
    const typed = ["text", "search", "number"].includes(target.type);
    if (typed) this.#pause = setTimeout(() => this.#now(false), TYPING_PAUSE_MS);
    else this.#now(true);
  }

  #now(done) {
    clearTimeout(this.#pause);
    const changes = Object.fromEntries(["q", ...FILTERS].map((name) => [name, this.#field(name).value.trim()]));
    this.#onChange({ ...changes, mode: this.#form.elements.mode.value }, done);
  }

  #shortcut(event) {
    const writing = event.target.closest("input, select, textarea, dialog");
    if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.#field("q").select();
    }
    const filters = this.#form.querySelector("#filters");
    if (event.key === "Escape" && filters.open) {
      filters.open = false;
      filters.querySelector("summary").focus();
    }
  }
}
