/**
 * The changelog as releases need it, in the form of keepachangelog.com: `## Unreleased` on top, then `## X.Y.Z - DATE`
 * for each release. Pure.
 */

import { ReleaseError } from "./release-error.mjs";

const FILE = "CHANGELOG.md";
const UNRELEASED = "## Unreleased";

/**
 * The text with the entries of "Unreleased" under the version and its date (YYYY-MM-DD), below an empty "Unreleased".
 * Throws ReleaseError when there is nothing to release, or the version has a section already.
 */
export function dateChangelog(text, version, date) {
  const lines = text.split("\n");
  const start = unreleasedLine(lines);
  if (lines.some((line) => headingVersion(line) === version))
    throw new ReleaseError(`${FILE} has a section ${version} already: choose a greater version`);
  if (!sectionAt(lines, start).some((line) => /^- \S/.test(line)))
    throw new ReleaseError(
      `${FILE}: the section "${UNRELEASED}" has no entries; add a line "- …" for each change that users notice`,
    );
  return [
    ...lines.slice(0, start),
    UNRELEASED,
    "",
    `## ${version} - ${date}`,
    ...lines.slice(start + 1),
  ].join("\n");
}

/** What the changelog says of a version, without the heading. Throws ReleaseError when the section is missing. */
export function notesOf(text, version) {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => headingVersion(line) === version);
  if (start < 0) throw new ReleaseError(`${FILE} has no section "## ${version}"`);
  return sectionAt(lines, start).join("\n").trim();
}

function unreleasedLine(lines) {
  const found = lines.flatMap((line, index) => (line.trim() === UNRELEASED ? [index] : []));
  if (found.length === 1) return found[0];
  const what = found.length === 0 ? "no section" : `${found.length} sections`;
  throw new ReleaseError(`${FILE} has ${what} "${UNRELEASED}"; it needs one, above all releases`);
}

/** The lines between a heading and the next one. */
function sectionAt(lines, heading) {
  const length = lines.slice(heading + 1).findIndex((line) => line.startsWith("## "));
  return lines.slice(heading + 1, length < 0 ? undefined : heading + 1 + length);
}

function headingVersion(line) {
  return /^## (\S+) - /.exec(line)?.[1] ?? null;
}
