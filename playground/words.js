/** Codes of the API in plain words. A code not listed here is shown as it is. */

const REASONS = {
  keyword_match: "matches the words",
  semantic_match: "close in meaning",
  liked_by_similar_users: "liked by people alike",
  similar_product: "similar product",
  popular: "popular",
  candidate: "candidate",
};

const FEATURES = {
  search: ["Search", "how well it answers the query"],
  cf: ["Taste", "what this user's history predicts (cf)"],
  popularity: ["Popularity", "how much others use it"],
  freshness: ["Freshness", "how new it is"],
};

const RAW_SCORES = { keyword: "relevance", semantic: "cosine", collaborative: "dot", popular: "popularity" };

const CAUSES = {
  circuit_open: "circuit open after failures",
  timeout: "too slow",
  unavailable: "not available",
  overloaded: "overloaded",
  artifact_missing: "no artifact yet: train one",
  artifact_corrupt: "artifact is corrupt",
  replica_lag: "read replica lags",
  unknown_user: "user not known yet",
  version_mismatch: "versions differ for a moment",
  not_requested: "not asked for",
  no_match: "nothing found",
};

/** Causes that explain an answer and never degrade it. */
export const HEALTHY_CAUSES = new Set(["unknown_user", "version_mismatch", "not_requested", "no_match"]);

const SOURCES = {
  faiss: "FAISS index",
  redis: "Redis",
  primary: "Postgres primary",
};

export const VERSION_NAMES = {
  index: "Embedding index",
  changes: "Catalogue change",
  vocabulary: "Vocabulary",
  popularity: "Popularity",
  cf: "Taste factors",
  weights: "Weights",
  config: "Configuration",
};

export const reason = (code) => REASONS[code] ?? spaced(code);
export const cause = (code) => CAUSES[code] ?? spaced(code);
export const featureName = (feature) => FEATURES[feature]?.[0] ?? spaced(feature);
export const featureMeaning = (feature) => FEATURES[feature]?.[1] ?? "";
export const rawScore = (retriever) => RAW_SCORES[retriever] ?? "score";

export function source(name) {
  const replica = /^replica-(\d+)$/.exec(name);
  return replica ? `Postgres replica ${replica[1]}` : (SOURCES[name] ?? spaced(name));
}

function spaced(code) {
  return String(code).replaceAll("_", " ");
}
