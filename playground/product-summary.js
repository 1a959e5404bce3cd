import { element } from "./element.js";
import { price } from "./figures.js";

const MOST_FACTS = 6;

/** The picture of a product, or its initials on a colour of its category. */
export function tile(product, id) {
  const label = (product?.title ?? id).replace(/^(the|a|an) /i, "");
  const initials =
    label
      .match(/[\p{L}\p{N}]+/gu)
      ?.slice(0, 2)
      .map((word) => [...word][0].toUpperCase())
      .join("") ?? "?";
  const made = element(
    "span.tile",
    { "aria-hidden": "true", style: { "--hue": hue(product?.category ?? "") } },
    initials,
  );
  const address = product?.image_url ?? "";
  if (/^https?:\/\//.test(address)) {
    const image = element("img", { alt: "", loading: "lazy", referrerPolicy: "no-referrer", src: address });
    image.addEventListener("error", () => image.remove());
    made.append(image);
  }
  return made;
}

/** The title, or the id of a product whose attributes could not be read. */
export function titleOf(product, id) {
  return product?.title ?? `Product ${id}`;
}

/** What tells a product from others at a glance: category, brand, price, then its attributes, lists last. */
export function facts(product) {
  if (!product) return ["its attributes could not be read"];
  const stock = product.in_stock ? null : "out of stock";
  const values = Object.values(product.attributes ?? {});
  const attributes = [...values.filter((value) => !Array.isArray(value)), ...values.filter(Array.isArray).flat()].map(
    String,
  );
  const all = [product.category, product.brand, price(product), stock, ...attributes].filter(Boolean);
  return [...new Set(all)].slice(0, MOST_FACTS);
}

/** Degrees on the colour wheel, the same for the same text. */
export function hue(text) {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193) >>> 0;
  return String((hash >>> 8) % 360);
}
