import { breakdown, placingNames, scoreBar } from "./breakdown.js";
import { element } from "./element.js";
import { facts, tile, titleOf } from "./product-summary.js";
import { reason } from "./words.js";

/**
 * One product in its place.
 *
 * @param {object} hit As the API gives it.
 * @param {{isOpen: boolean, onSelect: () => void, onToggle: (open: boolean) => void}} options
 * @returns {HTMLLIElement}
 */
export function hitItem(hit, { isOpen, onSelect, onToggle }) {
  const title = titleOf(hit.product, hit.id);
  return element(
    "li.hit",
    { data: { id: hit.id } },
    element("span.rank", {}, element("span.visually-hidden", {}, "Rank "), hit.rank),
    tile(hit.product, hit.id),
    element(
      "div.what",
      {},
      element(
        "h3",
        {},
        element("button.title", { type: "button", onclick: onSelect, "aria-haspopup": "dialog" }, title),
      ),
      element(
        "p.facts",
        {},
        facts(hit.product).map((fact) => element("span", {}, fact)),
      ),
    ),
    element("span.score", { title: `Score ${hit.score.toFixed(6)}` }, hit.score.toFixed(3)),
    hit.explain && scoreBar(hit),
    element(
      "div.why",
      {},
      element("span.reason", {}, reason(hit.reason.code)),
      placingNames(hit).map(([name, { rank }]) => element("span.placing", {}, `${name} #${rank}`)),
    ),
    hit.explain && explanation(hit, title, isOpen, onToggle),
  );
}

function explanation(hit, title, isOpen, onToggle) {
  const details = element(
    "details.explanation",
    { open: isOpen },
    element("summary", { "aria-label": `Why ${title} is here` }, "Why?"),
  );
  const fill = () => details.children.length === 1 && details.append(breakdown(hit));
  if (isOpen) fill();
  details.addEventListener("toggle", () => {
    if (details.open) fill();
    onToggle(details.open);
  });
  return details;
}
