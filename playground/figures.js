/** Numbers as people read them. */

/** Milliseconds: "0.8 ms", "18 ms", "<0.1 ms". */
export function milliseconds(ms) {
  if (Number.isInteger(ms)) return `${ms} ms`;
  if (ms < 0.05) return "<0.1 ms";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** Seconds as an age: "12 s", "4 min", "3 h", "2 days". */
export function age(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** A share of 1 as a CSS width, bounded to what fits. */
export function width(share) {
  return `${Math.min(100, Math.max(0, share * 100)).toFixed(4)}%`;
}

/** A price with its currency where there is one; a currency the browser does not know is written out. */
export function price(product) {
  if (product.price === null || product.price === undefined) return null;
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency: product.currency }).format(product.price);
  } catch {
    return [product.price, product.currency].filter(Boolean).join(" ");
  }
}

/** "1 product", "3 products". */
export function counted(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}
