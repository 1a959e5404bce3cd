import { element } from "./element.js";
import { hue } from "./product-summary.js";

const MAX_ID_LENGTH = 128;

/** Chooses whom the answers are for: nobody, one of the users with many events, or any id typed in. */
export class UserPicker {
  #root;
  #onPick;
  #user = "";
  #users = [];
  #button = element("button.current", { type: "button", "aria-expanded": "false", "aria-controls": "user-panel" });
  #panel = element("div.panel", { id: "user-panel", hidden: true });

  /**
   * @param {HTMLElement} root
   * @param {(user: string) => void} onPick "" for nobody.
   */
  constructor(root, onPick) {
    this.#root = root;
    this.#onPick = onPick;
    root.replaceChildren(this.#button, this.#panel);
    this.#button.addEventListener("click", () => this.#show(this.#panel.hidden));
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#panel.hidden) return;
      this.#show(false);
      this.#button.focus();
    });
    root.addEventListener(
      "focusout",
      ({ relatedTarget }) => relatedTarget && !root.contains(relatedTarget) && this.#show(false),
    );
    document.addEventListener("pointerdown", ({ target }) => !root.contains(target) && this.#show(false));
    this.#render();
  }

  /** Shows *user* as the one chosen. */
  set user(user) {
    if (user === this.#user) return;
    this.#user = user;
    this.#render();
  }

  /** Offers these ids. */
  set users(users) {
    this.#users = users;
    this.#render();
  }

  #show(open) {
    this.#panel.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    if (open) this.#panel.querySelector("input").focus();
  }

  #pick(user) {
    this.#show(false);
    this.#button.focus();
    this.#onPick(user);
  }

  #render() {
    const name = this.#user ? `User ${this.#user}` : "anyone";
    this.#button.replaceChildren(
      avatar(this.#user),
      element("span", {}, element("span.label", {}, "For "), element("b", {}, name)),
      element("span.caret", { "aria-hidden": "true" }, "▾"),
    );
    const typed = element("input", {
      id: "user-id",
      name: "user",
      maxLength: MAX_ID_LENGTH,
      placeholder: "any user id",
      value: this.#user,
      autocomplete: "off",
      spellcheck: false,
    });
    const form = element(
      "form",
      {},
      element("label", { for: "user-id" }, "User id"),
      element("div.row", {}, typed, element("button", { type: "submit" }, "Use")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#pick(typed.value.trim());
    });
    this.#panel.replaceChildren(
      form,
      element(
        "p.note",
        {},
        this.#users.length
          ? "Or one of those with many events:"
          : "No users yet. Any id will do; events make it known.",
      ),
      element(
        "ul.users",
        {},
        element("li", {}, this.#choice("")),
        this.#users.map((user) => element("li", {}, this.#choice(user))),
      ),
    );
  }

  #choice(user) {
    const pressed = String(user === this.#user);
    return element(
      "button.quiet",
      { type: "button", data: { user }, "aria-pressed": pressed, onclick: () => this.#pick(user) },
      avatar(user),
      user || "anyone",
    );
  }
}

function avatar(user) {
  return element(
    "span.avatar",
    { "aria-hidden": "true", className: user ? "avatar" : "avatar nobody", style: { "--hue": hue(user) } },
    user ? [...user].slice(-2).join("") : "",
  );
}
