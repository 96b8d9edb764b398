/**
 * README.md, docs/ and what they need, for packages: links between them work there, and what only the repository has
 * leaves its text.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { ROOT } from "../bundles.mjs";
import { filesBelow } from "./files-below.mjs";

const CODE_BLOCK = /(^```[\s\S]*?^```$)/m;
const PICTURE = /^<picture>[\s\S]*?<\/picture>\n+/gm;
const IMAGE = /^!\[[^\]]*\]\(([^)\s]+)\)\n+/gm;
const LINK = /\[([^\]]+)\]\(([^)\s]+)\)/g;

/** Entries below `folder` (see tree.mjs). `others`: paths of what else the package has in `folder`. */
export function documents(folder, others = []) {
  const pages = filesBelow(path.join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
  const names = ["README.md", "CHANGELOG.md", "SECURITY.md", ...pages.map((name) => `docs/${name}`)];
  return names.map((name) => ({
    path: path.posix.join(folder, name),
    content: Buffer.from(
      withPresentLinks(readFileSync(path.join(ROOT, name), "utf8"), name, new Set([...names, ...others])),
    ),
  }));
}

/** `name`: the page's own path. Pictures are in the repository only. */
export function withPresentLinks(text, name, names) {
  const isPresent = (target) => {
    const [file] = target.split("#");
    return file === "" || /^[a-z]+:/.test(file) || names.has(path.posix.join(path.posix.dirname(name), file));
  };
  const edit = (part) =>
    part
      .replace(PICTURE, "")
      .replace(IMAGE, (image, target) => (isPresent(target) ? image : ""))
      .replace(LINK, (link, words, target) => (isPresent(target) ? link : words));
  return text
    .split(CODE_BLOCK)
    .map((part) => (part.startsWith("```") ? part : edit(part)))
    .join("");
}
