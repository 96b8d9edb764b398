/** Version numbers of releases: three decimal numbers, X.Y.Z. Pure. */

const FORM = /^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/;

/** Whether the text is a version of a release. */
export function isVersion(text) {
  return FORM.test(text);
}

/** The greatest of the versions; null when there is none. */
export function greatest(versions) {
  return versions.reduce((best, each) => (best === null || isGreater(each, best) ? each : best), null);
}

/** Whether `one` is a later version than `other`. */
export function isGreater(one, other) {
  const [left, right] = [one, other].map((text) => text.split(".").map(Number));
  const index = left.findIndex((number, position) => number !== right[position]);
  return index >= 0 && left[index] > right[index];
}
