import { element } from "./element.js";
import { age, milliseconds, width } from "./figures.js";
import { cause, source, VERSION_NAMES } from "./words.js";

const STATUS = { ok: ["✓", "ok"], fallback: ["↷", "fallback"], skipped: ["–", "skipped"] };

/** How an answer was made: its stages, the versions behind it, how fresh it is. Of several answers, one at a time. */
export class Trace {
  #names;
  #answers = new Map();
  #shown = null;
  #versionsOpen = true;
  #choice = element("div.segments.small", { role: "group", "aria-label": "Which answer" });
  #body = element("div.trace-body");

  /**
   * @param {HTMLElement} section Holds an h2.
   * @param {string[]} names The answers there may be, in the order they are offered.
   */
  constructor(section, names) {
    this.#names = names;
    section.replaceChildren(element("header", {}, section.querySelector("h2"), this.#choice), this.#body);
  }

  /**
   * @param {string} name One of the names.
   * @param {{body: object}|null} answer null: there is none (any more).
   * @param {boolean} show Whether to turn to it.
   */
  put(name, answer, show) {
    if (answer) this.#answers.set(name, answer.body);
    else this.#answers.delete(name);
    if (answer && show) this.#shown = name;
    if (!this.#answers.has(this.#shown)) this.#shown = this.#offered()[0] ?? null;
    this.#render();
  }

  #offered() {
    return this.#names.filter((name) => this.#answers.has(name));
  }

  #render() {
    this.#choice.hidden = this.#answers.size < 2;
    this.#choice.replaceChildren(...this.#offered().map((name) => this.#button(name)));
    const body = this.#answers.get(this.#shown);
    this.#body.replaceChildren(...(body ? [stages(body.stages), freshness(body), this.#versions(body.versions)] : []));
    if (!body) this.#body.append(element("p.note", {}, "There is no answer to show."));
  }

  #button(name) {
    const turn = () => {
      this.#shown = name;
      this.#render();
      this.#choice.querySelector('[aria-pressed="true"]').focus();
    };
    return element("button", { type: "button", "aria-pressed": String(name === this.#shown), onclick: turn }, name);
  }

  #versions(all) {
    const rows = Object.entries(all).map(([name, version]) => [
      element("dt", { title: name }, VERSION_NAMES[name] ?? name),
      element("dd", { data: { version: name } }, version ?? "none"),
    ]);
    const details = element(
      "details.versions",
      { open: this.#versionsOpen },
      element("summary", {}, "Versions"),
      element("dl", {}, rows),
    );
    details.addEventListener("toggle", () => (this.#versionsOpen = details.open));
    return details;
  }
}

function stages(all) {
  const longest = Math.max(...all.map((stage) => stage.ms), 1);
  return element(
    "table.stages",
    {},
    element("caption.visually-hidden", {}, "Stages"),
    element(
      "thead.visually-hidden",
      {},
      element(
        "tr",
        {},
        ["Status", "Stage", "Source or cause", "Milliseconds"].map((text) => element("th", { scope: "col" }, text)),
      ),
    ),
    element(
      "tbody",
      {},
      all.map((stage) => stageRow(stage, longest)),
    ),
  );
}

function stageRow(stage, longest) {
  const [mark, word] = STATUS[stage.status] ?? ["?", stage.status];
  const says = [
    stage.status === "fallback" && stage.fallback ? `${stage.fallback} stood in` : null,
    stage.cause ? cause(stage.cause) : null,
    stage.source ? source(stage.source) : null,
  ].filter(Boolean);
  return element(
    "tr",
    { data: { stage: stage.name, status: stage.status } },
    element(
      "td.status",
      { title: word },
      element("span", { "aria-hidden": "true" }, mark),
      element("span.visually-hidden", {}, word),
    ),
    element("th", { scope: "row" }, stage.name),
    element("td.says", { title: stage.cause ?? "" }, says.join(" · ")),
    element(
      "td.ms",
      {},
      element("span.ms-bar", { "aria-hidden": "true" }, element("i", { style: { width: width(stage.ms / longest) } })),
      element("span", {}, stage.status === "skipped" && stage.ms === 0 ? "" : milliseconds(stage.ms)),
    ),
  );
}

function freshness({ freshness: fresh, took_ms }) {
  const facts = [["Took", milliseconds(took_ms)]];
  if (fresh.read_from) facts.push(["Read from", source(fresh.read_from)]);
  if (fresh.replica_lag_ms !== null) facts.push(["Lag", milliseconds(fresh.replica_lag_ms)]);
  if (fresh.index_age_s !== null) facts.push(["Index age", age(fresh.index_age_s)]);
  if (fresh.consistent !== null) facts.push(["Sees the write", fresh.consistent ? "yes" : "perhaps not"]);
  return element(
    "dl.freshness",
    {},
    facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}
