/** Which broken paths the page shows as one problem. */

import { describe, expect, it } from "vitest";
import { problemsOf } from "../../../../agent/page/grouping.ts";
import type { PairData } from "../../../../agent/page-server/page-data.ts";

const pair = (from: string, to: string, cause = "host-down"): PairData => ({
  ...{ from, to, cause, seen: "", remedy: "", since: 0, isOwnFault: cause === "local-firewall" },
});
/** Both directions of each path between two groups. */
const between = (left: string, right: string, cause?: string): readonly PairData[] =>
  [...left].flatMap((a) => [...right].flatMap((b) => [pair(a, b, cause), pair(b, a, cause)]));

/** Such as `ab|cd`, `abc` for all paths among hosts, `b=c` and `b>d` for a single path. */
const shown = (pairs: readonly PairData[], self: string | null = "a"): readonly string[] =>
  problemsOf(pairs, self).map(({ left, right, links }) => {
    const [first] = links;
    if (first === undefined) return "";
    if (links.length === 1) return [first.pair.from, first.pair.to].join(first.back === null ? ">" : "=");
    return [left.join(""), ...(right.length === 0 ? [] : [right.join("")])].join("|");
  });

describe("problems", () => {
  it("join both directions of a path", () => {
    expect(shown([pair("b", "c"), pair("c", "b"), pair("d", "e")])).toEqual(["b=c", "d>e"]);
  });

  it("of this host come first", () => {
    expect(shown([pair("b", "c"), pair("d", "a")])).toEqual(["d>a", "b>c"]);
  });

  it("are named by the end that knows the fault to be its own", () => {
    expect(shown([pair("a", "x", "tunnel-filtered"), pair("x", "a", "local-firewall")])).toEqual(["x=a"]);
    const all = [..."abc"].flatMap((id) => [
      pair(id, "x", "tunnel-filtered"),
      pair("x", id, "local-firewall"),
    ]);
    expect(shown(all)).toEqual(["x|abc"]);
    expect(problemsOf(all, "a")[0]?.links.map(({ pair }) => pair.cause)).toEqual(
      Array.from({ length: 3 }, () => "local-firewall"),
    );
  });

  it("of a host with several broken paths are one, of that host", () => {
    expect(shown([pair("b", "x"), pair("c", "x")])).toEqual(["x|bc"]);
    const pairs = [..."abcd"].map((from) => pair(from, "x"));
    expect(shown([...pairs, pair("b", "d", "tcp-lost")])).toEqual(["x|abcd", "b>d"]);
  });

  it("of a host that others see broken in several ways are one, of that host", () => {
    const pairs = [pair("a", "x"), pair("b", "x"), pair("c", "x"), pair("x", "d", "tunnel-filtered")];
    expect(shown(pairs)).toEqual(["x|abcd"]);
  });

  it("of one host with nothing but the host in common stay apart", () => {
    expect(shown([pair("b", "x", "tcp-lost"), pair("c", "x", "tunnel-filtered")])).toEqual(["b>x", "c>x"]);
  });

  it("of two hosts that are broken in two ways stay apart", () => {
    const pairs = [...between("x", "abcy", "host-down"), ...between("y", "abc", "large-packets-lost")];
    expect(shown(pairs)).toEqual(["x|abcy", "y|abc"]);
  });

  it.each(["ab|cd", "ab|cde", "abcde|fghij"])("of a network cut into %s are one", (sides) => {
    const [left = "", right = ""] = sides.split("|");
    const pairs = between(left, right, "tunnel-filtered");
    expect(shown(pairs)).toEqual([sides]);
    // One side cannot reach the store.
    expect(shown(pairs.filter(({ from }) => left.includes(from)))).toEqual([sides]);
    expect(problemsOf(pairs, "a")[0]?.links).toHaveLength(left.length * right.length);
  });

  it("of a network in three parts are two", () => {
    expect(shown([...between("ab", "cdefg"), ...between("cd", "efg")])).toEqual(["efg|abcd", "ab|cd"]);
  });

  it("beside a cut stay apart from it", () => {
    expect(shown([...between("abc", "def"), pair("a", "b")])).toEqual(["abc|def", "a>b"]);
  });

  it("claim no path that works, or that no host reports", () => {
    const pairs = between("ab", "cde").filter(({ from, to }) => !(from + to).match(/ac|ca/));
    for (const { left, right, links } of problemsOf(pairs, "a"))
      expect(links).toHaveLength(left.length * right.length);
    expect(shown(pairs)).toEqual(["ab|de", "b=c"]);
  });

  it("of a network in which no path works are one", () => {
    const hosts = "abcde";
    const pairs = [...hosts].flatMap((from) => [...hosts.replace(from, "")].map((to) => pair(from, to)));
    expect(shown(pairs)).toEqual([hosts]);
  });

  it("prefer one host as the cause", () => {
    expect(shown([...between("x", "abc"), ...between("a", "b")])).toEqual(["x|abc", "a=b"]);
  });

  it("take each path once", () => {
    const ids = Array.from({ length: 60 }, (_, index) => `h${index}`);
    const pairs = ids.flatMap((from, row) =>
      ids.filter((to, column) => to !== from && (row * 7 + column * 5) % 11 < 4).map((to) => pair(from, to)),
    );
    const links = problemsOf(pairs, "h0").flatMap((problem) => problem.links);
    const ends = links.map(({ pair: { from, to } }) => [from, to].sort().join(" "));
    expect(ends.sort()).toEqual(
      [...new Set(pairs.map(({ from, to }) => [from, to].sort().join(" ")))].sort(),
    );
  });
});
