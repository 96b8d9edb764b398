/** Names in the picture: within it, and not over each other. */

import { describe, expect, it } from "vitest";
import { layOutRing, type Point, type Space } from "../../../../agent/page/layout.ts";
import {
  type DrawnName,
  type NamedHost,
  ringNames,
  ringRadius,
  roomOutside,
  scatteredNames,
} from "../../../../agent/page/picture-names.ts";

const LETTER = 8.2;
const LONG = "a-host-with-a-name-that-is-longer-than-others";

const spaceOf = (width: number): Space => ({ width, height: 480 });

/** From left to right, of a level name. */
function spanOf({ text, attributes }: DrawnName): readonly [number, number] {
  const width = text.length * LETTER;
  const x = Number(attributes.x);
  const left = { start: x, middle: x - width / 2, end: x - width }[String(attributes.class)] ?? Number.NaN;
  return [left, left + width];
}

function hostsOn(
  radius: number,
  count: number,
  name: string,
  { width, height }: Space,
): readonly NamedHost[] {
  const place = ({ x, y }: Point): Point => ({ x: width / 2 + x, y: height / 2 + y });
  return layOutRing(count, radius).points.map((point) => ({ name, at: place(point) }));
}

describe("names on a ring", () => {
  const cases = [320, 342, 500, 1_000, 1_300].flatMap((pixels) =>
    ["node-1", "192.168.50.101", LONG].flatMap((name) =>
      [3, 5, 8].map((count) => [pixels, name, count] as const),
    ),
  );
  it.each(cases)("in %i pixels, %s, of %i hosts", (pixels, name, count) => {
    const space = spaceOf(pixels);
    const radius = ringRadius(
      space,
      Array.from({ length: count }, () => name),
    );
    const names = ringNames(hostsOn(radius, count, name, space), radius, space);
    expect(names).toHaveLength(count);
    const boxes = names.map((each) => ({ span: spanOf(each), y: Number(each.attributes.y) }));
    for (const { span, y } of boxes) {
      expect(span[0]).toBeGreaterThanOrEqual(-1);
      expect(span[1]).toBeLessThanOrEqual(space.width + 1);
      expect(y).toBeGreaterThan(12);
      expect(y).toBeLessThan(space.height - 3);
    }
    for (const [index, a] of boxes.entries())
      for (const b of boxes.slice(index + 1)) {
        const isApart = a.span[1] <= b.span[0] || b.span[1] <= a.span[0];
        expect(isApart || Math.abs(a.y - b.y) >= 14).toBe(true);
      }
    for (const { text } of names) expect(text.length).toBeGreaterThanOrEqual(Math.min(name.length, 8));
  });
});

describe("a name that points outward", () => {
  it("has room as far as the picture's edge", () => {
    const centre = { x: 500, y: 340 };
    expect(roomOutside(0, 200, centre)).toBeCloseTo(300);
    expect(roomOutside(Math.PI / 2, 200, centre)).toBeCloseTo(140);
    expect(roomOutside(Math.PI, 200, centre)).toBeCloseTo(300);
  });
});

describe("scattered names", () => {
  it.each([342, 1_000])("stay in a picture of %i pixels", (pixels) => {
    const space = spaceOf(pixels);
    const hosts = [0.05, 0.3, 0.5, 0.7, 0.98].map((share, index) => ({
      name: LONG,
      at: { x: share * space.width, y: 40 + index * 40 },
    }));
    const names = scatteredNames(hosts, space);
    expect(names).toHaveLength(hosts.length);
    for (const each of names) {
      const [left, right] = spanOf(each);
      expect(left).toBeGreaterThanOrEqual(-1);
      expect(right).toBeLessThanOrEqual(space.width + 1);
      expect(each.text.length).toBeGreaterThan(6);
    }
  });

  it("do not cover each other", () => {
    const at = (y: number): NamedHost => ({ name: "node", at: { x: 600, y } });
    expect(scatteredNames([at(100), at(105), at(130)], spaceOf(1_000))).toHaveLength(2);
  });
});
