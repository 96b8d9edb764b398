import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { looksOf } from "../../../deploy/pictures/screen.mjs";
import { terminalSvg } from "../../../deploy/pictures/terminal-svg.mjs";

const ROOT = join(import.meta.dirname, "../../..");
const FOLDER = join(ROOT, "docs/pictures");
const LARGEST_BYTES = 200_000;

describe("what a terminal shows over time", () => {
  it("has a look for each text of a row, until another one replaces it", () => {
    const looks = looksOf([
      { atMs: 1, text: "  \x1b[2m…\x1b[22m wait" },
      { atMs: 5, text: "\r  \x1b[32m✔\x1b[39m done  \x1b[2m1 s\x1b[22m\r\n" },
      { atMs: 7, text: "\r\n\x1b[1mnext\x1b[0m" },
    ]);
    expect(looks).toEqual([
      {
        ...{ row: 0, fromMs: 1, untilMs: 5 },
        spans: [
          { column: 2, text: "…", style: { weight: "dim" } },
          { column: 4, text: "wait", style: {} },
        ],
      },
      {
        ...{ row: 0, fromMs: 5, untilMs: null },
        spans: [
          { column: 2, text: "✔", style: { colour: "green" } },
          { column: 4, text: "done", style: {} },
          { column: 10, text: "1 s", style: { weight: "dim" } },
        ],
      },
      {
        ...{ row: 2, fromMs: 7, untilMs: null },
        spans: [{ column: 0, text: "next", style: { weight: "bold" } }],
      },
    ]);
  });

  it("keeps what a shorter text does not cover, as a terminal does", () => {
    const [, last] = looksOf([
      { atMs: 0, text: "longer" },
      { atMs: 1, text: "\rab" },
    ]);
    expect(last?.spans.map(({ text }) => text)).toEqual(["abnger"]);
  });

  it.each(["\x1b[7m", "\x1b[2J", "\x07"])("rejects %j, which it does not know", (text) =>
    expect(() => looksOf([{ atMs: 0, text }])).toThrow(/is not known/),
  );
});

describe("the picture of a terminal", () => {
  const picture = { columns: 20, command: "a & b", title: "<t>", label: 'say "a"', startMs: 100 };
  const svg = terminalSvg(
    looksOf([
      { atMs: 10, text: "first" },
      { atMs: 30, text: "\r<last>" },
    ]),
    picture,
  );

  it("escapes what it shows", () => {
    expect(svg).toContain(">a &#38; b</text>");
    expect(svg).toContain(">&#60;last&#62;</text>");
    expect(svg).toContain('aria-label="say &#34;a&#34;"');
  });

  it("shows the end where nothing moves, and each text at its time where it does", () => {
    expect(svg).toContain('<g class="brief" style="animation-delay:110ms;animation-duration:20ms">');
    expect(svg).toContain('<g class="late" style="animation-duration:130ms">');
    expect(svg).toContain(".brief{opacity:0}");
    expect(svg).toMatch(/@media \(prefers-reduced-motion:no-preference\)\{\.late\{animation:hide\}/);
  });
});

describe("the pictures of the documents", () => {
  const names = readdirSync(FOLDER).sort();

  it("are all in the README, and are small", () => {
    expect(names).toEqual(["demo.svg", "page-dark.png", "page-light.png"]);
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    for (const name of names) {
      expect(readme).toContain(`docs/pictures/${name}`);
      expect(statSync(join(FOLDER, name)).size).toBeLessThan(LARGEST_BYTES);
    }
  });

  it("show the demo as it is now", () => {
    const story = readFileSync(join(ROOT, "agent/demo/story.ts"), "utf8");
    const titles = [...story.matchAll(/step\(\s*"([^"]+)"/g)].map(([, title]) => title ?? "");
    expect(titles.length).toBeGreaterThan(1);
    const svg = readFileSync(join(FOLDER, "demo.svg"), "utf8");
    for (const title of titles) expect(svg).toContain(`>${title}</text>`);
    expect(svg).not.toContain("✘");
  });
});
