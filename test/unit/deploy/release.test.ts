import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { dateChangelog, notesOf } from "../../../deploy/release/changelog.mjs";
import { greatest, isGreater, isVersion } from "../../../deploy/release/version.mjs";

const read = (name: string): string => readFileSync(new URL(`../../../${name}`, import.meta.url), "utf8");

const FORMER = "## 0.1.0 - 2026-11-28\n\n### Added\n\n- The first.\n";
const CHANGELOG = `# Changelog\n\n## Unreleased\n\n### Added\n\n- A page.\n  In two lines.\n\n${FORMER}`;

describe("versions of releases", () => {
  it.each(["0.2.0", "10.0.1", "0.0.0"])("accepts %s", (text) => expect(isVersion(text)).toBe(true));

  it.each([
    "v0.2.0",
    "0.2",
    "0.2.0.1",
    "0.02.0",
    "0.2.0-rc.1",
    "0.2.0\n",
    " 0.2.0",
    "",
    "1e3.0.0",
    "0.2.9999999",
  ])("rejects %j", (text) => expect(isVersion(text)).toBe(false));

  it.each([
    ["0.2.0", "0.1.0", true],
    ["0.10.0", "0.9.9", true],
    ["1.0.0", "0.99.99", true],
    ["0.1.1", "0.1.0", true],
    ["0.1.0", "0.1.0", false],
    ["0.1.9", "0.2.0", false],
    ["0.9.9", "1.0.0", false],
  ])("%s after %s: %s", (one, other, expected) => expect(isGreater(one, other)).toBe(expected));

  it("finds the greatest", () => {
    expect(greatest(["0.2.0", "0.10.0", "0.9.0"])).toBe("0.10.0");
    expect(greatest([])).toBeNull();
  });
});

describe("the changelog", () => {
  it("gets the version and the date, and a new section for what follows", () => {
    const dated = dateChangelog(CHANGELOG, "0.2.0", "2026-12-01");
    const section = "## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n### Added\n\n- A page.\n  In two lines.\n";
    expect(dated).toBe(`# Changelog\n\n${section}\n${FORMER}`);
    expect(notesOf(dated, "0.2.0")).toBe("### Added\n\n- A page.\n  In two lines.");
    expect(notesOf(dated, "0.1.0")).toBe("### Added\n\n- The first.");
  });

  it.each([
    ["has no section for what is not released", FORMER, 'has no section "## Unreleased"'],
    ["has two", `## Unreleased\n\n- One.\n\n${CHANGELOG}`, 'has 2 sections "## Unreleased"'],
    ["has no entries", `## Unreleased\n\n### Added\n\n${FORMER}`, "has no entries"],
    ["has an empty entry", `## Unreleased\n\n- \n\n${FORMER}`, "has no entries"],
  ])("is rejected when it %s", (_, text, message) =>
    expect(() => dateChangelog(text, "0.2.0", "2026-12-01")).toThrow(message),
  );

  it("is rejected when it has the version, and has no notes of one that it lacks", () => {
    expect(() => dateChangelog(CHANGELOG, "0.1.0", "2026-12-01")).toThrow("has a section 0.1.0 already");
    expect(() => notesOf(CHANGELOG, "0.2.0")).toThrow('has no section "## 0.2.0"');
  });

  it("of this project names every release that is recorded, the newest first", () => {
    const releases = JSON.parse(read("deploy/release/releases.json")) as Record<string, { date: string }>;
    const headings = [...read("CHANGELOG.md").matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    const recorded = Object.entries(releases).map(([version, { date }]) => `${version} - ${date}`);
    const [first, ...rest] = headings;
    expect(first).toBe("Unreleased");
    // The commit of a release has its section, and is recorded by the commit after it.
    expect(rest.slice(-recorded.length)).toEqual(recorded.reverse());
  });
});

it("docs/install.md names the files of this version", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const named = read("docs/install.md").match(/(?<=tulle[-_:])\d+\.\d+\.\d+/g) ?? [];
  expect(named.length).toBeGreaterThan(5);
  expect(new Set(named)).toEqual(new Set([version]));
});
