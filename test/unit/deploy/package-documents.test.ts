import { posix } from "node:path";
import { expect, it } from "vitest";
import { documents, withPresentLinks } from "../../../deploy/package/documents.mjs";

it("lead only to what the package has", () => {
  const pages = documents("/usr/share/doc/tulle");
  const paths = new Set(pages.map(({ path }) => path));
  expect(paths).toContain("/usr/share/doc/tulle/docs/install.md");
  const missing = pages.flatMap(({ path, content }) =>
    [...`${content}`.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)]
      .map(([, link, picture]) => link ?? picture ?? "")
      .filter((target) => !/^[a-z]+:|^#/.test(target))
      .filter((target) => !paths.has(posix.join(posix.dirname(path), target.split("#")[0] ?? "")))
      .map((target) => `${path}: ${target}`),
  );
  expect(missing).toEqual([]);
});

it("keep links that work, code, and the words of other links", () => {
  const names = new Set(["README.md", "docs/cni.md"]);
  const text = [
    "[CNI](cni.md#install), [`the list`](../deploy/cni/x.conflist), [home](../README.md), [web](https://example.org)\n\n",
    "![A picture](pictures/a.svg)\n\n",
    "```sh\necho [a](b)\n```\n",
  ].join("");
  expect(withPresentLinks(text, "docs/cni.md", names)).toBe(
    "[CNI](cni.md#install), `the list`, [home](../README.md), [web](https://example.org)\n\n```sh\necho [a](b)\n```\n",
  );
});
