import * as api from "./api.js";
import { AnswerList, problemNotice } from "./answer-list.js";
import { element } from "./element.js";
import { Latest } from "./latest.js";
import { facts, tile, titleOf } from "./product-summary.js";

const SIMILAR_LIMIT = 6;
const EVENTS = [
  ["view", "View"],
  ["add_to_cart", "Add to cart"],
  ["purchase", "Purchase"],
];
const RATINGS = [1, 2, 3, 4, 5];

/** One product: what is known of it, events to send about it, and products like it. */
export class ProductDialog {
  #dialog;
  #listeners;
  #reading = new Latest();
  #user = "";

  /**
   * @param {HTMLDialogElement} dialog
   * @param {{onSelect: (hit: object, body: object) => void, onClose: () => void, onEvent: () => void}} listeners
   *   onEvent is told after an event was taken in.
   */
  constructor(dialog, listeners) {
    this.#dialog = dialog;
    this.#listeners = listeners;
    dialog.addEventListener("close", () => {
      this.#reading.stop();
      listeners.onClose();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  /** Closes the dialog where it is open. */
  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /**
   * @param {string} id
   * @param {{product: object|null, requestId: string|null, user: string}} known What the caller knows: the product from
   *   a hit (else it is read) and the request that showed it, for attribution.
   */
  async show(id, { product, requestId, user }) {
    this.#user = user;
    const body = element("div.product-body");
    const section = element(
      "section.answer",
      { "aria-labelledby": "similar-heading" },
      element("h2", { id: "similar-heading" }, "Similar products"),
    );
    const close = element(
      "button.close.quiet",
      { type: "button", "aria-label": "Close", onclick: () => this.#dialog.close() },
      "✕",
    );
    this.#dialog.replaceChildren(close, body, section);
    this.#dialog.scrollTop = 0;
    if (!this.#dialog.open) this.#dialog.showModal();
    close.focus();
    body.replaceChildren(...this.#parts(id, product, requestId));
    const similar = new AnswerList(section, { onSelect: this.#listeners.onSelect });
    const asking = similar.show(
      (cursor, signal) =>
        api.recommendations(
          { product_ids: [id], type: "similar", user_id: user, explain: true, limit: SIMILAR_LIMIT, cursor },
          signal,
        ),
      { heading: "Similar products", emptyText: "Nothing is like it." },
    );
    if (!product) await this.#read(id, body, requestId);
    await asking;
  }

  async #read(id, body, requestId) {
    try {
      const product = await this.#reading.of((signal) => api.product(id, signal));
      if (product) body.replaceChildren(...this.#parts(id, product, requestId));
    } catch (problem) {
      body.replaceChildren(element("h2", { id: "product-title" }, titleOf(null, id)), problemNotice(problem));
    }
  }

  #parts(id, product, requestId) {
    return [
      element(
        "header",
        {},
        tile(product, id),
        element(
          "div",
          {},
          element("h2", { id: "product-title" }, titleOf(product, id)),
          element("p.facts", {}, product && facts(product).map((fact) => element("span", {}, fact))),
        ),
      ),
      product?.description && element("p.description", {}, product.description),
      this.#events(id, requestId),
      product && attributes(product),
    ].filter(Boolean);
  }

  #events(id, requestId) {
    const said = element("p.said", { role: "status" });
    const send = (type, value) =>
      this.#send({ user_id: this.#user, product_id: id, type, value, request_id: requestId ?? undefined }, said);
    const disabled = !this.#user;
    const rating = element(
      "select",
      { "aria-label": "Rate", disabled },
      element("option", { value: "" }, "Rate…"),
      RATINGS.map((value) => element("option", { value }, "★".repeat(value))),
    );
    rating.addEventListener("change", () => {
      if (rating.value) send("rating", Number(rating.value));
      rating.value = "";
    });
    if (disabled) said.textContent = "Choose a user, and events can be sent as that user.";
    return element(
      "div.events",
      { role: "group", "aria-label": "Send an event" },
      EVENTS.map(([type, label]) =>
        element("button", { type: "button", disabled, data: { event: type }, onclick: () => send(type) }, label),
      ),
      rating,
      said,
    );
  }

  async #send(event, said) {
    said.textContent = "Sending…";
    try {
      const { duplicates } = await api.sendEvent(event);
      said.textContent = `${duplicates ? "Already known" : "Accepted"}: ${event.type.replaceAll("_", " ")} by user ${event.user_id}.`;
      this.#listeners.onEvent();
    } catch (problem) {
      said.textContent = `Not accepted: ${problem.message}`;
    }
  }
}

function attributes(product) {
  const rows = Object.entries({
    id: product.id,
    category: product.category,
    brand: product.brand,
    ...product.attributes,
    "created at": product.created_at?.slice(0, 10),
  });
  return element(
    "dl.attributes",
    {},
    rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) =>
        element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, [value].flat().join(", "))),
      ),
  );
}
