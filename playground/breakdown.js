import { element } from "./element.js";
import { width } from "./figures.js";
import { featureMeaning, featureName, rawScore } from "./words.js";

/** The score as one bar: a part for each feature, as wide as its contribution; the whole track is a score of 1. */
export function scoreBar(hit) {
  const { contributions, weights, features } = hit.explain;
  const positive = Object.entries(contributions).filter(([, contribution]) => contribution > 0);
  const parts = positive.map(([feature, contribution]) =>
    element("span.part", {
      data: { feature, contribution },
      style: { width: width(contribution) },
      title: `${featureName(feature)} ${figure(features[feature])} × weight ${figure(weights[feature])} = ${figure(contribution)}`,
    }),
  );
  const label = positive
    .map(([feature, contribution]) => `${featureName(feature)} ${contribution.toFixed(3)}`)
    .join(", ");
  return element("span.score-bar", { role: "img", "aria-label": `Score ${hit.score.toFixed(3)}: ${label}` }, parts);
}

/** Which colour stands for which feature, for the features known of any of *hits*. */
export function legend(hits) {
  const known = hits
    .flatMap((hit) => Object.entries(hit.explain?.features ?? {}))
    .filter(([, value]) => value !== null);
  const features = new Set(known.map(([feature]) => feature));
  return element(
    "ul.legend",
    { "aria-label": "Colours of the score bars" },
    [...features].map((feature) =>
      element("li", { data: { feature }, title: featureMeaning(feature) }, element("i.swatch"), featureName(feature)),
    ),
  );
}

/** The sum behind a score: each feature, its weight and its contribution; then who found the product. */
export function breakdown(hit) {
  const { features, weights, contributions, rules, retrievers } = hit.explain;
  const rows = Object.entries(features).map(([feature, value]) =>
    row(feature, value, weights[feature] ?? 0, contributions[feature] ?? 0),
  );
  return element(
    "div.breakdown",
    {},
    element(
      "table",
      {},
      element("caption.visually-hidden", {}, "How the score adds up"),
      element("thead", {}, element("tr", {}, ...["Feature", "Value", "Weight", "Contribution"].map(heading))),
      element("tbody", {}, rows),
      element(
        "tfoot",
        {},
        element("tr", {}, element("th", { scope: "row", colSpan: 3 }, "Score"), element("td", {}, figure(hit.score))),
      ),
    ),
    element(
      "div.found-by",
      {},
      element("h4", {}, "Found by"),
      placings(retrievers),
      rules.length > 0 && element("p", {}, `Rules: ${rules.join(", ")}`),
    ),
  );
}

/** Retrievers with the rank each gave, best first: "keyword #2". */
export function placingNames(hit) {
  return Object.entries(hit.explain?.retrievers ?? {}).sort(([, one], [, other]) => one.rank - other.rank);
}

function row(feature, value, weight, contribution) {
  const absent = value === null;
  return element(
    "tr",
    { data: { feature }, className: absent ? "absent" : "" },
    element("th", { scope: "row", title: featureMeaning(feature) }, element("i.swatch"), featureName(feature)),
    element(
      "td.value",
      {},
      absent
        ? element("span.note", { title: "Its weight went to the other features" }, "not known")
        : [
            element("span.value-bar", { "aria-hidden": "true" }, element("i", { style: { width: width(value) } })),
            element("span", {}, value.toFixed(3)),
          ],
    ),
    element("td", { title: figure(weight) }, absent ? "–" : `× ${weight.toFixed(3)}`),
    element("td", {}, absent ? "–" : figure(contribution)),
  );
}

function placings(retrievers) {
  const found = Object.entries(retrievers);
  if (!found.length) return element("p.note", {}, "No retriever is named.");
  return element(
    "ul",
    {},
    found.map(([name, { rank, score }]) =>
      element(
        "li",
        { data: { retriever: name } },
        element("b", {}, name),
        element("span", {}, `rank ${rank}`),
        element("span.note", {}, `${rawScore(name)} ${figure(score)}`),
      ),
    ),
  );
}

function heading(text) {
  return element("th", { scope: "col" }, text);
}

/** At most six decimals, as the API gives them, so that what is shown adds up exactly. */
function figure(value) {
  return value === null || value === undefined ? "absent" : value.toFixed(6);
}
