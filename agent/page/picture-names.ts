/** Where the picture writes the names of hosts, and how much of each: within the picture, not over each other. Pure. */

import { shortName } from "./host-names.ts";
import type { Point, Space } from "./layout.ts";

/** Of a letter, on the average. */
const LETTER_WIDTH = 8.2;
const LINE_HEIGHT = 16;
const MOST_LETTERS = 36;
const FEWEST_LETTERS = 6;
/** Between the middle of a dot and its name. */
const GAP = 18;
/** Nearer to the vertical through the middle a name is centred above or below its dot. */
const CENTRED = 25;
/** Above and below a ring of hosts with level names. */
const LEVEL_MARGIN = 50;
/** Of a name that points outward, as far as the ring makes room for it. */
const MOST_OUTWARD_LETTERS = 14;
/** A ring is at least so large, as a part of the shorter side of the picture. */
const SMALLEST_RING = 0.2;

/** A name as an element `text` of SVG. */
export interface DrawnName {
  readonly text: string;
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** A host that gets a name. */
export interface NamedHost {
  readonly name: string;
  readonly at: Point;
}

/** Of the ring, so that its names fit beside it. */
export function ringRadius({ width, height }: Space, names: readonly string[]): number {
  const letters = Math.min(MOST_LETTERS, Math.max(0, ...names.map(({ length }) => length)));
  const side = Math.min(width, height);
  const atLeast = (radius: number): number => Math.max(SMALLEST_RING * side, Math.floor(radius));
  const level = atLeast(Math.min(width / 2 - GAP - letters * LETTER_WIDTH - 1, height / 2 - LEVEL_MARGIN));
  if (hasRoomForLines(names.length, level)) return level;
  return atLeast(side / 2 - GAP - Math.min(letters, MOST_OUTWARD_LETTERS) * LETTER_WIDTH - 4);
}

/** The name of the host in the middle. */
export function middleName({ name, at }: NamedHost, radius: number): DrawnName {
  const text = shortName(name, lettersIn(2 * radius - 40));
  return { text, attributes: { x: at.x, y: at.y + 32, class: "middle" } };
}

/** The names of all hosts on a ring: level where there is room, else along the lines from the middle. */
export function ringNames(hosts: readonly NamedHost[], radius: number, space: Space): readonly DrawnName[] {
  const nameOf = hasRoomForLines(hosts.length, radius) ? levelName : outwardName;
  return hosts.map((host) => nameOf(host, radius, space));
}

/** Of several hosts anywhere, as many as do not cover each other, the first ones before others. */
export function scatteredNames(hosts: readonly NamedHost[], { width }: Space): readonly DrawnName[] {
  const boxes: Box[] = [];
  return hosts.flatMap(({ name, at: { x, y } }) => {
    const isRight = isRoomier(x, width);
    const text = shortName(name, lettersIn((isRight ? width - x : x) - 14));
    const length = text.length * LETTER_WIDTH;
    const box = { left: isRight ? x + 10 : x - 10 - length, top: y - LINE_HEIGHT / 2, width: length };
    if (boxes.some((other) => doOverlap(box, other))) return [];
    boxes.push(box);
    return [
      { text, attributes: { x: x + (isRight ? 12 : -12), y: y + 5, class: isRight ? "start" : "end" } },
    ];
  });
}

/** Outward, unless only the other side has room for a few letters. */
function isRoomier(x: number, width: number): boolean {
  const outward = x >= width / 2;
  const room = outward ? width - x : x;
  return lettersIn(room - 14) > FEWEST_LETTERS ? outward : !outward;
}

/** Whether the host beside the one at the top is at least a line lower. */
function hasRoomForLines(count: number, radius: number): boolean {
  return (1 - Math.cos((2 * Math.PI) / Math.max(3, count))) * (radius + GAP) >= LINE_HEIGHT;
}

function levelName({ name, at: { x, y } }: NamedHost, radius: number, { width, height }: Space): DrawnName {
  const [dx, dy] = [x - width / 2, y - height / 2];
  const side = Math.abs(dx) < CENTRED ? "middle" : dx > 0 ? "start" : "end";
  const at = { x: x + (dx / radius) * GAP, y: y + (dy / radius) * (GAP + 2) + 5 };
  const room = { start: width - at.x, end: at.x, middle: 2 * Math.min(at.x, width - at.x) }[side];
  return { text: shortName(name, lettersIn(room)), attributes: { x: at.x, y: at.y, class: side } };
}

/** Never upside down. */
function outwardName({ name, at: { x, y } }: NamedHost, radius: number, { width, height }: Space): DrawnName {
  const centre = { x: width / 2, y: height / 2 };
  const angle = Math.atan2(y - centre.y, x - centre.x);
  const isLeft = Math.abs(angle) > Math.PI / 2;
  const degrees = (angle * 180) / Math.PI + (isLeft ? 180 : 0);
  return {
    text: shortName(name, lettersIn(roomOutside(angle, radius + GAP, centre))),
    attributes: {
      transform: `translate(${round(x)} ${round(y)}) rotate(${round(degrees)})`,
      ...{ x: isLeft ? -GAP : GAP, y: 5, class: isLeft ? "end" : "start" },
    },
  };
}

/** From a point at `radius` around the centre of a picture outward to its edge; the angle in radians. */
export function roomOutside(angle: number, radius: number, centre: Point): number {
  const across = centre.x / Math.abs(Math.cos(angle));
  const down = centre.y / Math.abs(Math.sin(angle));
  return Math.min(across, down) - radius;
}

function lettersIn(width: number): number {
  return Math.min(MOST_LETTERS, Math.floor(width / LETTER_WIDTH));
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
}

function doOverlap(a: Box, b: Box): boolean {
  const isApart = a.left + a.width < b.left || b.left + b.width < a.left;
  return !isApart && Math.abs(a.top - b.top) < LINE_HEIGHT;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
