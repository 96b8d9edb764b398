/** The files that the code host reads: forms, owners, workflow. It ignores what is wrong in them without a word. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const ROOT = join(import.meta.dirname, "../../..");
const FORMS = join(ROOT, ".github/ISSUE_TEMPLATE");
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");

interface Field {
  readonly type: string;
  readonly id?: string;
  readonly attributes: {
    readonly label?: string;
    readonly value?: string;
    readonly options?: readonly string[];
  };
}

describe.each(readdirSync(FORMS).filter((name) => name !== "config.yml"))("the form %s", (name) => {
  const form = parse(readFileSync(join(FORMS, name), "utf8"));
  const fields = form.body as readonly Field[];

  it("has what a form must have", () => {
    expect(form).toMatchObject({ name: expect.any(String), description: expect.any(String) });
    for (const { type, attributes } of fields) {
      expect(["markdown", "textarea", "input", "dropdown", "checkboxes"]).toContain(type);
      expect(type === "markdown" ? attributes.value : attributes.label).toEqual(expect.any(String));
      if (type === "dropdown") expect(attributes.options?.length).toBeGreaterThan(1);
    }
    const ids = fields.flatMap(({ id }) => id ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    expect(fields.some(({ type }) => type !== "markdown")).toBe(true);
  });
});

it("the form for faults asks for the archive of tulle report", () => {
  const fields = parse(readFileSync(join(FORMS, "bug.yml"), "utf8")).body as readonly Field[];
  expect(fields.find(({ id }) => id === "report")).toMatchObject({
    attributes: { label: expect.stringContaining("tulle report") },
    validations: { required: true },
  });
});

it("code owners are named for folders and files that exist", () => {
  const lines = read(".github/CODEOWNERS").split("\n");
  const patterns = lines.filter((line) => line !== "" && !line.startsWith("#"));
  expect(patterns.length).toBeGreaterThan(1);
  for (const line of patterns) {
    const [pattern = "", ...owners] = line.split(/\s+/);
    expect(pattern === "*" || existsSync(join(ROOT, pattern)), pattern).toBe(true);
    expect(owners.length).toBeGreaterThan(0);
    for (const owner of owners) expect(owner).toMatch(/^@[\w-]+\/[\w-]+$/);
  }
});

it("the workflow runs what CI runs, on the whole history", () => {
  const { jobs } = parse(read(".github/workflows/verify.yml"));
  expect(jobs.verify.steps).toEqual([
    { uses: expect.stringMatching(/^actions\/checkout@v\d+$/), with: { "fetch-depth": 0 } },
    { run: "bash .ci/run" },
  ]);
});

it("documents name the versions of Node that CI runs and the build requires", () => {
  const majors = /const MAJORS = \[([^\]]+)\]/.exec(read("deploy/verify/node-versions.mjs"))?.[1];
  expect(majors).toBe("22, 24, 26");
  const required = JSON.parse(read("package.json")).engines.node.replace(">=", "");
  for (const name of ["README.md", "CONTRIBUTING.md", "docs/operations.md"]) {
    expect(read(name).replace(/\s+/g, " "), name).toMatch(/Node 22 (and|or) 24/);
    expect(read(name), name).toContain(required);
  }
});
