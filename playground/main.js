import * as api from "./api.js";
import { AnswerList } from "./answer-list.js";
import { Controls } from "./controls.js";
import { FILTERS, fromAddress, toAddress } from "./page-state.js";
import { ProductDialog } from "./product-dialog.js";
import { titleOf } from "./product-summary.js";
import { Trace } from "./trace.js";
import { UserPicker } from "./user-picker.js";

const SEARCH_LIMIT = 10;
const RECOMMENDATION_LIMIT = 10;
const USERS_OFFERED = 20;
const SEARCH_FIELDS = ["q", "user", "mode", ...FILTERS];
const RECOMMENDATION_FIELDS = ["user", ...FILTERS];

const main = document.getElementById("main");
const sections = { results: byId("results"), trace: byId("trace"), recommendations: byId("recommendations") };
const trace = new Trace(sections.trace, ["Search", "Recommendations"]);
const results = new AnswerList(sections.results, {
  onSelect: openProduct,
  onAnswer: (answer) => {
    trace.put("Search", answer, true);
    if (answer) noticed(answer.body, `for ${state.q}`);
  },
});
const recommended = new AnswerList(sections.recommendations, {
  onSelect: openProduct,
  onAnswer: (answer) => {
    trace.put("Recommendations", answer, !state.q);
    if (!answer) return;
    if (!state.q) noticed(answer.body, state.user ? `for user ${state.user}` : "that are popular");
    controls.examples = examples(answer.body.hits);
  },
});
const controls = new Controls(byId("controls"), (changes, done) => change(changes, done));
const picker = new UserPicker(byId("user-picker"), (user) => change({ user }, true));
const dialog = new ProductDialog(byId("product"), {
  onSelect: openProduct,
  onClose: () => change({ product: "" }, false),
  onEvent: () => recommend(),
});

let state = fromAddress();

/** Takes over what the address says, asks for everything. */
function start() {
  lay();
  search();
  recommend();
  if (state.product) dialog.show(state.product, { product: null, requestId: null, user: state.user });
}

/** Takes over *changes* of the state and asks again for what they touch. */
function change(changes, done) {
  const before = state;
  state = { ...state, ...changes };
  const differs = (fields) => fields.some((name) => before[name] !== state[name]);
  if (!differs(Object.keys(state))) return;
  toAddress(state, done);
  lay();
  if (differs(SEARCH_FIELDS)) search();
  if (differs(RECOMMENDATION_FIELDS)) recommend();
}

/** Shows the state in the controls and puts the sections where it wants them: the answer asked for comes first. */
function lay() {
  controls.show(state);
  picker.user = state.user;
  const view = state.q ? "search" : "home";
  controls.offersExamples = !state.q;
  document.title = state.q ? `${state.q} · Shortlist` : "Shortlist";
  if (main.dataset.view === view) return;
  main.dataset.view = view;
  sections.results.hidden = view === "home";
  if (view === "home") main.append(sections.recommendations, sections.trace);
  else main.append(sections.results, sections.trace, sections.recommendations);
}

function search() {
  if (!state.q) return results.clear();
  const parameters = {
    q: state.q,
    user_id: state.user,
    mode: state.mode,
    ...filters(),
    explain: true,
    limit: SEARCH_LIMIT,
  };
  return results.show((cursor, signal) => api.search({ ...parameters, cursor }, signal), {
    heading: state.user ? `Results for user ${state.user}` : "Results",
    emptyText: "Nothing matches. Fewer or other words may, or another mode, or fewer filters.",
  });
}

function recommend() {
  const parameters = { user_id: state.user, ...filters(), explain: true, limit: RECOMMENDATION_LIMIT };
  return recommended.show((cursor, signal) => api.recommendations({ ...parameters, cursor }, signal), {
    heading: state.user ? `Recommended for user ${state.user}` : "Popular now",
    emptyText: "Nothing to recommend. Is the catalogue loaded and trained, and do the filters leave anything?",
  });
}

function filters() {
  return Object.fromEntries(FILTERS.map((name) => [name, state[name]]));
}

function openProduct(hit, body) {
  change({ product: hit.id }, true);
  dialog.show(hit.id, { product: hit.product, requestId: body.request_id, user: state.user });
}

/** What both answers leave behind: categories to filter by, and a word to screen readers. */
function noticed(body, what) {
  controls.learn(body.hits);
  const degraded = body.degraded ? " The answer is degraded." : "";
  byId("announcement").textContent = `${body.hits.length} products ${what}.${degraded}`;
}

/** Queries that this catalogue can answer: categories and a title of what is popular in it. */
function examples(hits) {
  const categories = [...new Set(hits.map((hit) => hit.product?.category).filter(Boolean))];
  const titles = hits.filter((hit) => hit.product).map((hit) => titleOf(hit.product, hit.id));
  return [titles[0], [categories[0], categories[1]].filter(Boolean).join(" "), titles[1]].filter(Boolean);
}

function byId(id) {
  return document.getElementById(id);
}

window.addEventListener("popstate", () => {
  const before = state;
  state = fromAddress();
  lay();
  search();
  recommend();
  if (!state.product) dialog.close();
  else if (state.product !== before.product)
    dialog.show(state.product, { product: null, requestId: null, user: state.user });
});

start();
api.users(USERS_OFFERED).then(
  (users) => (picker.users = users),
  () => (picker.users = []),
);
