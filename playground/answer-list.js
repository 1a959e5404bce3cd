import { legend } from "./breakdown.js";
import { element } from "./element.js";
import { counted, milliseconds } from "./figures.js";
import { hitItem } from "./hit.js";
import { Latest } from "./latest.js";
import { cause, HEALTHY_CAUSES } from "./words.js";

/**
 * A section that shows one answer: its hits, how long it took, what was wrong.
 *
 * Asking anew keeps the old hits until the new ones are there. Errors are shown as text, with a way to try again.
 */
export class AnswerList {
  #latest = new Latest();
  #section;
  #heading;
  #summary = element("p.summary");
  #legend = element("div");
  #notice = element("div.notice");
  #hits = element("ol.hits");
  #more = element("button.more.quiet", { type: "button", hidden: true }, "Show more");
  #open = new Set();
  #onSelect;
  #onAnswer;
  #ask = null;
  #cursor = null;
  #emptyText = "";

  /**
   * @param {HTMLElement} section Holds an h2.
   * @param {{onSelect: (hit: object, body: object) => void, onAnswer?: (answer: object|null) => void}} listeners
   *   onAnswer gets null when there is no answer to show.
   */
  constructor(section, { onSelect, onAnswer = () => {} }) {
    this.#section = section;
    this.#heading = section.querySelector("h2");
    this.#onSelect = onSelect;
    this.#onAnswer = onAnswer;
    const head = element("header", {}, this.#heading, this.#summary, this.#legend);
    section.replaceChildren(head, this.#notice, this.#hits, this.#more);
    this.#more.addEventListener("click", () => this.#showMore());
  }

  /**
   * Asks and shows the answer; resolves when that is done or a newer question took its place.
   *
   * @param {(cursor: string|null, signal: AbortSignal) => Promise<{body: object, degraded: string|null}>} ask
   * @param {{heading: string, emptyText: string}} words
   */
  async show(ask, { heading, emptyText }) {
    this.#ask = ask;
    this.#emptyText = emptyText;
    this.#busy(true);
    try {
      const answer = await this.#latest.of((signal) => ask(null, signal));
      if (!answer) return;
      this.#heading.textContent = heading;
      this.#render(answer);
    } catch (problem) {
      this.#heading.textContent = heading;
      this.#fail(problem, () => this.show(ask, { heading, emptyText }));
    }
    this.#busy(false);
  }

  /** Forgets the answer and what is under way. */
  clear() {
    this.#latest.stop();
    this.#empty();
    this.#busy(false);
    this.#onAnswer(null);
  }

  #empty() {
    this.#hits.replaceChildren();
    this.#notice.replaceChildren();
    this.#legend.replaceChildren();
    this.#summary.textContent = "";
    this.#more.hidden = true;
  }

  #render(answer) {
    const { body } = answer;
    this.#empty();
    this.#summary.textContent = summary(body);
    if (body.hits.some((hit) => hit.explain)) this.#legend.replaceChildren(legend(body.hits));
    this.#notice.replaceChildren(...notices(answer));
    if (!body.hits.length) this.#hits.replaceChildren(element("li.nothing", {}, this.#emptyText));
    this.#append(body);
    this.#onAnswer(answer);
  }

  #append(body) {
    this.#hits.append(
      ...body.hits.map((hit) =>
        hitItem(hit, {
          isOpen: this.#open.has(hit.id),
          onSelect: () => this.#onSelect(hit, body),
          onToggle: (open) => (open ? this.#open.add(hit.id) : this.#open.delete(hit.id)),
        }),
      ),
    );
    this.#cursor = body.next_cursor;
    this.#more.hidden = this.#cursor === null;
  }

  async #showMore() {
    this.#busy(true);
    try {
      const answer = await this.#latest.of((signal) => this.#ask(this.#cursor, signal));
      if (!answer) return;
      const first = this.#hits.children.length;
      this.#append(answer.body);
      this.#hits.children[first]?.querySelector("button").focus();
    } catch (problem) {
      this.#more.hidden = true;
      const words = { heading: this.#heading.textContent, emptyText: this.#emptyText };
      this.#notice.replaceChildren(problemNotice(problem, () => this.show(this.#ask, words)));
    }
    this.#busy(false);
  }

  #fail(problem, retry) {
    this.#empty();
    this.#notice.replaceChildren(problemNotice(problem, retry));
    this.#onAnswer(null);
  }

  #busy(busy) {
    this.#section.setAttribute("aria-busy", String(busy));
  }
}

/** "165 products in 18 ms", with "at least" where a retriever was cut off. */
export function summary(body) {
  const { value, relation } = body.total;
  return `${relation === "gte" ? "at least " : ""}${counted(value, "product")} in ${milliseconds(body.took_ms)}`;
}

function notices({ body, degraded }) {
  const notes = [];
  if (body.degraded) notes.push(degradedBanner(body, degraded));
  if (body.stages.some((stage) => stage.cause === "unknown_user")) {
    notes.push(
      element(
        "p.note",
        {},
        "Nothing is known of this user yet, so nothing here is personal. Send an event to change that.",
      ),
    );
  }
  return notes;
}

function degradedBanner(body, header) {
  const parts = body.stages
    .filter((stage) => stage.cause !== null && !HEALTHY_CAUSES.has(stage.cause))
    .map((stage) => `${stage.name}: ${cause(stage.cause)}${stage.fallback ? `, ${stage.fallback} stood in` : ""}`);
  return element(
    "div.banner.degraded",
    { role: "status" },
    element("strong", {}, "Degraded answer"),
    element("span", {}, parts.join("; ")),
    header && element("code", {}, `X-Degraded: ${header}`),
  );
}

/** Whether the same request may be answered later, or (410) from its first page. */
function mayHelp({ retryable, status }) {
  return retryable || status === 410 || status >= 500;
}

/** An error as text: what is wrong, which fields, and a button to try again where that may help. */
export function problemNotice(problem, retry) {
  return element(
    "div.banner.problem",
    { role: "alert" },
    element("strong", {}, problem.status ? `${problem.status} ${problem.title}` : (problem.title ?? "Error")),
    element("span", {}, problem.message),
    problem.errors?.length > 1 &&
      element(
        "ul",
        {},
        problem.errors.map(({ field, message }) => element("li", {}, `${field}: ${message}`)),
      ),
    problem.requestId && element("code", {}, `request ${problem.requestId}`),
    retry && mayHelp(problem) && element("button.quiet", { type: "button", onclick: retry }, "Try again"),
  );
}
