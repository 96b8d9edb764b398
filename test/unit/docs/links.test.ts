/** Every link between the documents leads to a file, and to a heading in it. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");

const documents = [
  ...readdirSync(ROOT).map((name) => join(ROOT, name)),
  ...readdirSync(join(ROOT, "docs"), { recursive: true }).map((name) => join(ROOT, "docs", `${name}`)),
].filter((path) => path.endsWith(".md"));

/** The targets of `[text](target)` outside code, without those on the web. */
function linksIn(text: string): string[] {
  const prose = text.replace(/```.*?```/gs, "").replace(/`[^`]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target).filter(isLocal);
}

function isLocal(target: string): boolean {
  return !/^[a-z]+:/.test(target);
}

/** As a reader's browser makes them of headings. */
function anchorsIn(text: string): string[] {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe.each(documents.map((path) => relative(ROOT, path)))("%s", (name) => {
  const path = join(ROOT, name);
  const text = readFileSync(path, "utf8");

  it("links to what is there", () => {
    const broken = linksIn(text).filter((target) => {
      const [file = "", anchor] = target.split("#");
      const destination = file === "" ? path : join(dirname(path), file);
      if (!existsSync(destination)) return true;
      return anchor !== undefined && !anchorsIn(readFileSync(destination, "utf8")).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});
